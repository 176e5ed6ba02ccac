"""The deployment workflow: one rollout, or one rollback, of one version into one environment.

`workflow.py` runs the phases in order: `preparation.py` and `backtest.py` before the first weight, `rollout.py` from
weight to weight, `completion.py` to Active. Whatever goes wrong ends in `rollback.py`, which runs the undo log of
`state.py`. `commands.py` is what people may say meanwhile, `ui_details.py` what they are shown.
"""

from workflows.deployment.workflow import DeploymentWorkflow

__all__ = ["DeploymentWorkflow"]
