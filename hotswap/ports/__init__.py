"""Ports of activities, `hotswap.deployments` and `hotswap.registry` to the world, each with a few methods.

Adapters are wired in `workflows/worker.py` and `api/app.py`.

Every method that an activity calls may be called again with the same arguments, and then does nothing more.
A mistake in the *request* is a `hotswap.domain.errors.HotSwapError`, which Temporal does not try again. A server
that doesn't answer as it should is `Unavailable`, which Temporal tries again. No caller catches an error of an
adapter's library: what an adapter does not translate is a bug, or a value that the server refuses.
"""

from hotswap.ports.analysis import Judge, Judging, Meter, Observations, StickyCallers
from hotswap.ports.artifacts import ArtifactReferences, ArtifactStorage, UploadRecords, UploadStorage
from hotswap.ports.backtest import Backtests, Comparison, ReplicaAsker
from hotswap.ports.curation import Curations, CurationTransaction
from hotswap.ports.deployments import (
    ActivationHistory,
    ActivationHistoryReader,
    Admissions,
    ConcurrencySlots,
    DeploymentQueue,
    DeploymentReader,
    Deployments,
    QueueNotifications,
    ReconciliationRecords,
    RefusedCommands,
)
from hotswap.ports.monitoring import AlertRollbacks, Alerts, Announcer, Monitor
from hotswap.ports.registry import (
    LineageReader,
    RegistrationTransaction,
    RegistrationTransactions,
    Registry,
    RegistryReader,
    Teams,
    Validations,
    VersionRegistrar,
    Versions,
)
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
    "ActivationHistoryReader",
    "Admissions",
    "AlertRollbacks",
    "Alerts",
    "Announcer",
    "ArtifactReferences",
    "ArtifactStorage",
    "Backtests",
    "Capacity",
    "ClusterState",
    "Comparison",
    "ConcurrencySlots",
    "CurationTransaction",
    "Curations",
    "DeploymentQueue",
    "DeploymentReader",
    "Deployments",
    "DesiredApplications",
    "Inspector",
    "Judge",
    "Judging",
    "LineageReader",
    "Meter",
    "Monitor",
    "Observations",
    "Planning",
    "QueueNotifications",
    "ReconciliationRecords",
    "RefusedCommands",
    "RegistrationTransaction",
    "RegistrationTransactions",
    "Registry",
    "RegistryReader",
    "ReplicaAsker",
    "ReplicaProbe",
    "ServeCluster",
    "StickyCallers",
    "Teams",
    "TrafficBus",
    "TrafficPlans",
    "UploadRecords",
    "UploadStorage",
    "Validations",
    "VersionRegistrar",
    "Versions",
    "WriterLease",
]
