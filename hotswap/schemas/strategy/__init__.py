"""The strategy of a rollout, as people write it: steps, thresholds and analysis.

It is strict: an unknown key or a wrong type is refused with the field named.
"""

from hotswap.schemas.strategy.analysis import AnalysisConfig, MetricConfig
from hotswap.schemas.strategy.canary import CanaryConfig, PauseConfig, ScaleConfig, StepConfig
from hotswap.schemas.strategy.thresholds import RollbackThresholds

__all__ = [
    "AnalysisConfig",
    "CanaryConfig",
    "MetricConfig",
    "PauseConfig",
    "RollbackThresholds",
    "ScaleConfig",
    "StepConfig",
]
