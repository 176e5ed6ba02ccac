"""Ports of activities and of `hotswap.deployments` to the world, each with a few methods.

Adapters are wired in `workflows/worker.py` and `api/app.py`.

Every method may be called again with the same arguments and then does nothing more: activities are at-least-once.
A mistake in the *request* is a `hotswap.domain.errors.HotSwapError`, which Temporal does not try again. A server
that doesn't answer as it should is `Unavailable`, which Temporal tries again. No caller catches an error of an
adapter's library: what an adapter does not translate is a bug, or a value that the server refuses.
"""

from hotswap.ports.analysis import Judge, Judging, Meter, Observations, StickyCallers
from hotswap.ports.backtest import Backtests, Comparison, ReplicaAsker
from hotswap.ports.deployments import (
    ActivationHistory,
    Admissions,
    ConcurrencySlots,
    DeploymentQueue,
    DeploymentReader,
    Deployments,
    QueueNotifications,
    Registry,
    Versions,
)
from hotswap.ports.monitoring import AlertRollbacks, Alerts, Announcer, Monitor
from hotswap.ports.serving import (
    Capacity,
    ClusterState,
    DesiredApplications,
    Inspector,
    Planning,
    ReplicaProbe,
    ServeCluster,
    WriterLease,
)
from hotswap.ports.traffic import TrafficBus, TrafficPlans

__all__ = [
    "ActivationHistory",
    "Admissions",
    "AlertRollbacks",
    "Alerts",
    "Announcer",
    "Backtests",
    "Capacity",
    "ClusterState",
    "Comparison",
    "ConcurrencySlots",
    "DeploymentQueue",
    "DeploymentReader",
    "Deployments",
    "DesiredApplications",
    "Inspector",
    "Judge",
    "Judging",
    "Meter",
    "Monitor",
    "Observations",
    "Planning",
    "QueueNotifications",
    "Registry",
    "ReplicaAsker",
    "ReplicaProbe",
    "ServeCluster",
    "StickyCallers",
    "TrafficBus",
    "TrafficPlans",
    "Versions",
    "WriterLease",
]
