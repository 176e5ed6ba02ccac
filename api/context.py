"""The parts that handlers may need, made once at the composition root and injected by type.

Handlers take `Parts` as an annotated dependency and hold nothing themselves, so that a test can give them real parts of
its own. Nothing here connects: the API starts, and says so at `/health/ready`, when every server behind it is away.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.auth import CALLERS, ENGINEERS, MAKERS, READERS, TokenVerifier, requires
from api.limits import RateLimits
from api.orchestration import Orchestration
from hotswap.deployments.dry_run import DryRun
from hotswap.deployments.reconciliation import Reconciler
from hotswap.deployments.rollback import WayBack
from hotswap.deployments.start import DeploymentStarter
from hotswap.deployments.steer import Steering
from hotswap.domain.access import Principal
from hotswap.domain.vocabulary import Role
from hotswap.monitoring.drift import DriftMeter
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.deployments.freezes import PostgresFreezes
from hotswap.persistence.deployments.history import PostgresHistory
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.monitoring.alerts import PostgresAlerts
from hotswap.persistence.monitoring.gauges import Gauge
from hotswap.persistence.monitoring.policies import PostgresMonitoring
from hotswap.persistence.platform.audit import PostgresAudit
from hotswap.persistence.platform.changes import PostgresChanges
from hotswap.persistence.platform.idempotency import PostgresIdempotencyKeys
from hotswap.persistence.platform.service_tokens import PostgresServiceTokens
from hotswap.persistence.records.async_inference import PostgresAsyncInference
from hotswap.persistence.records.measures import PostgresMeasures
from hotswap.persistence.records.outcomes import PostgresOutcomes
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.persistence.traffic.proxies import PostgresProxies
from hotswap.ports import ActivationHistoryReader, LineageReader, RegistryReader, Teams, TrafficBus
from hotswap.registry.curation import Curation
from hotswap.registry.garbage import GarbageCollector
from hotswap.registry.registration import Registrations
from hotswap.registry.uploads import ArtifactUploads
from hotswap.registry.validation import ValidationOverrides
from hotswap.settings import Settings

Probe = Callable[[], Awaitable[object]]
"""Returns when a server answers, raises when it doesn't."""

Gauges = Callable[[], Awaitable[Sequence[Gauge]]]
"""Reads what a server tells of HotSwap's state; raises Unavailable when the server is away."""


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    tokens: TokenVerifier
    limits: RateLimits
    registry: RegistryReader
    registrations: Registrations
    deployments: PostgresDeploymentReader
    idempotency: PostgresIdempotencyKeys
    changes: PostgresChanges
    teams: Teams
    service_tokens: PostgresServiceTokens
    history: PostgresHistory
    observations: PostgresObservations
    monitoring: PostgresMonitoring
    alerts: PostgresAlerts
    activation_history: ActivationHistoryReader
    plans: PostgresTrafficPlans
    proxies: PostgresProxies
    bus: TrafficBus
    freezes: PostgresFreezes
    audit: PostgresAudit
    curation: Curation
    lineage: LineageReader
    validations: ValidationOverrides
    uploads: ArtifactUploads
    garbage: GarbageCollector
    outcomes: PostgresOutcomes
    async_inference: PostgresAsyncInference
    measures: PostgresMeasures
    drift: DriftMeter
    orchestration: Orchestration
    starter: DeploymentStarter
    dry_run: DryRun
    steering: Steering
    way_back: WayBack
    reconciler: Reconciler
    probes: Mapping[str, Probe]
    gauges: Mapping[str, Gauges]


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


With = Annotated[Parts, Depends(_parts)]

# A role in one team is enough to read of all, and to report outcomes; what changes something is the team's own.
Reader = Annotated[Principal, requires(*READERS, anywhere=True)]
Caller = Annotated[Principal, requires(*CALLERS, anywhere=True)]
Starter = Annotated[Principal, requires(*MAKERS, anywhere=True)]
"""A maker of whatever team: the body names the model, so the handler has to ask for its team."""
Maker = Annotated[Principal, requires(*MAKERS)]
Engineer = Annotated[Principal, requires(*ENGINEERS)]
Admin = Annotated[Principal, requires(Role.ADMIN)]
AnyAdmin = Annotated[Principal, requires(Role.ADMIN, anywhere=True)]
"""An Admin of any team: the handler checks which roles are needed."""
Anybody = Annotated[Principal, requires(*Role, anywhere=True)]
TrafficAgentPrincipal = Annotated[Principal, requires(Role.TRAFFIC_AGENT)]
