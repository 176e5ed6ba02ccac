"""The API's composition root: the application, its parts, and the process that serves it.

Nothing is connected to before it is asked for, so the API starts, answers reads of what it can reach, and says at
`/health/ready` what is missing, whichever of PostgreSQL, Redis, Temporal and S3 are away. Inference never comes here:
Envoy sends it to the replicas.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api import (
    async_inference,
    audit,
    authentication,
    curation,
    decisions,
    deployments,
    drift,
    errors,
    explaining,
    freezes,
    garbage,
    health,
    metrics,
    models,
    monitoring,
    outcomes,
    proxies,
    reconciliation,
    redeployment,
    replaying,
    scaling,
    scraping,
    swagger,
    tokens,
    traffic,
    uploads,
    validation,
)
from api.auth import TokenVerifier
from api.context import Parts
from api.description import describe, operation_id
from api.edge import TELEMETRY, Edge
from api.limits import RateLimits, impatient
from api.orchestration import Orchestration
from hotswap.deployments.capacity import CapacityRules, Planner
from hotswap.deployments.dry_run import DryRun
from hotswap.deployments.reconciliation import Reconciler
from hotswap.deployments.rollback import WayBack
from hotswap.deployments.start import DeploymentStarter
from hotswap.deployments.steer import Steering
from hotswap.monitoring.drift import DriftMeter
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.deployments.acceptance import acceptance
from hotswap.persistence.deployments.activation_history import PostgresActivationHistory
from hotswap.persistence.deployments.capacity import PostgresCapacity
from hotswap.persistence.deployments.deployment_queue import PostgresDeploymentQueue
from hotswap.persistence.deployments.freezes import PostgresFreezes
from hotswap.persistence.deployments.history import PostgresHistory
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.deployments.reconciliation import PostgresReconciliationRecords
from hotswap.persistence.monitoring.alerts import PostgresAlerts
from hotswap.persistence.monitoring.drift import PostgresDriftRecords
from hotswap.persistence.monitoring.gauges import PostgresGauges, RedisGauges
from hotswap.persistence.monitoring.policies import PostgresMonitoring
from hotswap.persistence.platform.audit import PostgresAudit
from hotswap.persistence.platform.changes import PostgresChanges
from hotswap.persistence.platform.database import create_sessions
from hotswap.persistence.platform.idempotency import PostgresIdempotencyKeys
from hotswap.persistence.platform.service_tokens import PostgresServiceTokens
from hotswap.persistence.records.async_inference import PostgresAsyncInference
from hotswap.persistence.records.measures import PostgresMeasures
from hotswap.persistence.records.outcomes import PostgresOutcomes
from hotswap.persistence.registry.curation import PostgresCurations
from hotswap.persistence.registry.garbage import PostgresGarbage
from hotswap.persistence.registry.lineage import PostgresLineage
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.registry.teams import PostgresTeams
from hotswap.persistence.registry.uploads import PostgresUploads
from hotswap.persistence.registry.validations import PostgresValidations
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.persistence.traffic.proxies import PostgresProxies
from hotswap.process.lifetime import run_service
from hotswap.process.temporal import connect
from hotswap.registry.curation import Curation
from hotswap.registry.garbage import GarbageCollector
from hotswap.registry.registration import Registrations
from hotswap.registry.uploads import ArtifactUploads
from hotswap.registry.validation import ValidationOverrides
from hotswap.schemas.responses import ErrorBody
from hotswap.security.oidc import IssuerKeys
from hotswap.settings import Settings
from hotswap.storage.artifacts import S3Artifacts, S3Uploads
from hotswap.storage.calls import StorageCalls
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import IMPATIENT, ObjectStorage
from hotswap.telemetry.logs import mark_ready
from hotswap.telemetry.tracing import start_tracing
from hotswap.traffic.bus import RedisTrafficBus
from serving.ray.client import RayServeClient

RAY_PATIENCE_SECONDS = 2.0
"""The time for a look at Ray while a caller waits; what takes longer the workflow looks at."""

ROUTERS: tuple[APIRouter, ...] = (
    authentication.router,
    authentication.published,
    models.router,
    curation.router,
    validation.router,
    uploads.router,
    garbage.router,
    metrics.router,
    drift.router,
    monitoring.router,
    deployments.router,
    explaining.router,
    replaying.router,
    decisions.router,
    decisions.way_back_router,
    scaling.router,
    redeployment.way_back_router,
    redeployment.router,
    freezes.router,
    proxies.router,
    outcomes.router,
    async_inference.router,
    audit.router,
    reconciliation.router,
    tokens.router,
    traffic.router,
    health.router,
    scraping.router,
    swagger.router,
)


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Its parts are made when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with parts(settings) as made:
            app.state.parts = made
            yield

    return assemble(lifespan=lifespan)


def assemble(*, telemetry: TelemetryConfig = TELEMETRY, **options: object) -> FastAPI:
    """Return the routes, the error handlers and the edge, without parts.

    Raises RuntimeError for a route that has no rule who may call it.
    """
    app = FastAPI(
        title="HotSwap",
        description="Puts new versions of machine-learning models into production without an outage.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        responses={"default": {"model": ErrorBody}},  # so that the document has it; `describe` says when
        telemetry=telemetry,
        **options,  # type: ignore[arg-type]
    )
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    app.add_middleware(Edge)
    app.state.readiness = health.Readiness()
    app.state.hashing = asyncio.Semaphore(2)
    return app


@asynccontextmanager
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    sessions = create_sessions(settings.postgres)
    redis = Redis.from_url(settings.redis.url.get_secret_value(), socket_connect_timeout=2, socket_timeout=2)
    counting = impatient(settings.redis.url.get_secret_value())
    storage = ObjectStorage(settings.storage, IMPATIENT)
    storage_calls = StorageCalls()
    artifacts = S3Artifacts(storage, storage_calls)
    uploads = S3Uploads(MultipartUploads(settings.storage), storage_calls)
    traced = start_tracing("api", settings.telemetry)
    orchestration = Orchestration(await connect(lazy=True, identity="api", interceptors=traced))
    ray = RayServeClient(
        settings.ray.dashboard_url, settings.ray.auth_token.get_secret_value(), timeout=RAY_PATIENCE_SECONDS
    )
    rules = CapacityRules(settings.capacity.team_gpus, settings.capacity.cluster_grows)
    planner = Planner(PostgresCapacity(sessions), ray, ray, rules)
    deployments = PostgresDeploymentReader(sessions)
    registry = PostgresRegistryReader(sessions)
    teams = PostgresTeams(sessions)
    plans, bus = PostgresTrafficPlans(sessions), RedisTrafficBus(redis)
    audit_log = PostgresAudit(sessions)
    starter = DeploymentStarter(acceptance(sessions, settings.deployments, planner), deployments, orchestration)
    issuer_keys = IssuerKeys(settings.oidc) if settings.oidc.issuer is not None else None
    keeping = asyncio.create_task(issuer_keys.keep()) if issuer_keys is not None else None
    # A thread of its own: whoever waits for an S3 server that hangs must not hold up who asks whether it does.
    probing = ThreadPoolExecutor(1, thread_name_prefix="storage-probe")
    try:
        yield Parts(
            settings=settings,
            tokens=TokenVerifier(settings.security, settings.oidc, issuer_keys),
            limits=RateLimits(counting, settings.limits),
            registry=registry,
            registrations=Registrations(registry, teams, orchestration),
            deployments=deployments,
            idempotency=PostgresIdempotencyKeys(sessions),
            changes=PostgresChanges(sessions, at_once=settings.postgres.pool_size),
            teams=teams,
            service_tokens=PostgresServiceTokens(sessions),
            history=PostgresHistory(sessions),
            observations=PostgresObservations(sessions),
            monitoring=PostgresMonitoring(sessions),
            alerts=PostgresAlerts(sessions),
            activation_history=PostgresActivationHistory(sessions),
            plans=plans,
            proxies=PostgresProxies(sessions),
            bus=bus,
            freezes=PostgresFreezes(sessions),
            audit=audit_log,
            curation=Curation(PostgresCurations(sessions), plans, bus),
            lineage=PostgresLineage(sessions),
            validations=ValidationOverrides(registry, PostgresValidations(sessions)),
            uploads=ArtifactUploads(settings.storage, registry, PostgresUploads(sessions), artifacts, uploads),
            garbage=GarbageCollector(settings.storage, PostgresGarbage(sessions), artifacts, uploads),
            outcomes=PostgresOutcomes(sessions),
            async_inference=PostgresAsyncInference(sessions),
            measures=PostgresMeasures(sessions, settings.retention),
            drift=DriftMeter(PostgresDriftRecords(sessions)),
            orchestration=orchestration,
            starter=starter,
            dry_run=DryRun(starter),
            steering=Steering(deployments, PostgresDeploymentQueue(sessions), orchestration, audit_log),
            way_back=WayBack(settings, deployments),
            reconciler=Reconciler(PostgresReconciliationRecords(sessions), orchestration, ray, plans, bus),
            gauges={"postgresql": PostgresGauges(sessions).read, "redis": RedisGauges(redis).read},
            probes={
                "postgresql": lambda: _select(sessions.engine),
                "redis": lambda: _ping(redis),
                "temporal": orchestration.check,
                "storage": lambda: _has_bucket(storage, probing),
            },
        )
    finally:
        if keeping is not None and issuer_keys is not None:
            keeping.cancel()
            await issuer_keys.aclose()
        storage_calls.close()
        probing.shutdown(wait=False, cancel_futures=True)
        await ray.aclose()
        await redis.aclose()
        await counting.aclose()
        await sessions.aclose()


async def _select(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def _ping(redis: Redis) -> None:
    await redis.ping()


async def _has_bucket(storage: ObjectStorage, probing: Executor) -> None:
    if not await asyncio.get_running_loop().run_in_executor(probing, storage.is_reachable):
        raise LookupError("the bucket is not there")


KEEP_ALIVE_SECONDS = 90
"""Longer than Envoy keeps an idle connection (`serving/envoy/clusters.py`), or a request could meet its end."""


class _Server(uvicorn.Server):
    """Says that it is ready when it listens, not before."""

    async def startup(self, *args: object, **kwargs: object) -> None:
        await super().startup(*args, **kwargs)  # type: ignore[arg-type]
        if self.started:
            mark_ready()


def serve(settings: Settings) -> None:
    config = uvicorn.Config(
        create_app(settings),
        host=settings.gateway.api_host,
        port=settings.gateway.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    # uvicorn stops in order and then raises the signal again, for who was there before it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _Server(config).run()


def main() -> None:
    run_service("api", Settings, serve)


if __name__ == "__main__":
    main()
