"""What activities and `hotswap.deployments` need of the world, each in a few methods.

Adapters are wired in `workflows/worker.py` and `api/app.py`.

Every method may be called again with the same arguments and then does nothing more: activities are at-least-once.
What is wrong with the *request* is a `hotswap.domain.errors.HotSwapError`, which Temporal does not try again. A server
that doesn't answer as it should is `Unavailable`, which it does; an adapter lets no error of its library through. Only
PostgreSQL's adapters do: SQLAlchemy's errors propagate as they are, and Temporal tries again after them too.
"""

from hotswap.ports.analysis import EntityCensus, Judge, Judging, Looks, Meter
from hotswap.ports.backtest import Backtests, Comparison, ReplicaAsker
from hotswap.ports.deployments import (
    Admissions,
    Bell,
    DeploymentReader,
    Deployments,
    Registry,
    Slots,
    Tenures,
    Turns,
    Versions,
)
from hotswap.ports.monitoring import Alerts, Announcer, Monitor, Rollbacks
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
    "Admissions",
    "Alerts",
    "Announcer",
    "Backtests",
    "Bell",
    "Capacity",
    "ClusterState",
    "Comparison",
    "DeploymentReader",
    "Deployments",
    "DesiredApplications",
    "EntityCensus",
    "Inspector",
    "Judge",
    "Judging",
    "Looks",
    "Meter",
    "Monitor",
    "Planning",
    "Registry",
    "ReplicaAsker",
    "ReplicaProbe",
    "Rollbacks",
    "ServeCluster",
    "Slots",
    "Tenures",
    "TrafficBus",
    "TrafficPlans",
    "Turns",
    "Versions",
    "WriterLease",
]
