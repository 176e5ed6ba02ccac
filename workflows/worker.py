"""The worker process: the only file that wires adapters to activities.

Its identity names process and host, so that a deployment's history tells which worker did what. Which activities run
in which task queue is `workflows/task_queues.py`.
"""

import gc

gc.disable()  # until all is imported: that stays, and looking through it again and again takes a quarter of the start

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from hotswap.analysis.backtest import compare
from hotswap.analysis.judge import StepJudging
from hotswap.deployments.capacity import CapacityRules, Planner
from hotswap.deployments.rollback import MonitorRollbacks, WayBack
from hotswap.domain.analysis import Source
from hotswap.inference.gateway import InferenceGateway
from hotswap.inference.worker import Answering
from hotswap.metrics_sources.prometheus import PrometheusMeter
from hotswap.metrics_sources.webhook import WebhookMeter
from hotswap.monitoring.drift import DriftMeter
from hotswap.monitoring.monitor import ActiveVersionMonitor
from hotswap.notifications.webhooks import WebhookAnnouncer
from hotswap.persistence.analysis.accuracy import PostgresAccuracy
from hotswap.persistence.analysis.answers import PostgresAnswers
from hotswap.persistence.analysis.backtests import PostgresBacktests
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.analysis.predictions import PostgresPredictions
from hotswap.persistence.analysis.sticky_callers import PostgresStickyCallers
from hotswap.persistence.deployments.acceptance import acceptance
from hotswap.persistence.deployments.activation_history import PostgresActivationHistory
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.capacity import PostgresCapacity
from hotswap.persistence.deployments.deployment_queue import PostgresDeploymentQueue
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.deployments.slots import PostgresConcurrencySlots
from hotswap.persistence.monitoring.alerts import PostgresAlerts
from hotswap.persistence.monitoring.drift import PostgresDriftRecords
from hotswap.persistence.monitoring.monitor import PostgresMonitorData
from hotswap.persistence.platform.database import Sessions, create_sessions
from hotswap.persistence.platform.queue_notifications import PostgresQueueNotifications
from hotswap.persistence.records.async_inference import PostgresAsyncInference
from hotswap.persistence.registry.registrations import PostgresRegistrations
from hotswap.persistence.registry.versions import PostgresRegistry
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.process.lifetime import run_service
from hotswap.process.temporal import connect
from hotswap.registry.versions import Registrar
from hotswap.settings import Settings
from hotswap.storage.objects import ObjectStorage
from hotswap.telemetry.logs import mark_ready
from hotswap.telemetry.tracing import start_tracing
from hotswap.traffic.bus import RedisTrafficBus
from serving.artifacts import ArtifactCache
from serving.backtest import HttpReplicaAsker
from serving.inspection import SubprocessInspector
from serving.probe import HttpReplicaProbe
from serving.ray.client import RayServeClient
from serving.runtimes import Terms
from workflows.schedules import ensure_schedules
from workflows.task_queues import SANDBOX, WORKFLOWS, Ports, workers

gc.enable()

__all__ = ["SANDBOX", "WORKFLOWS", "Ports", "main", "serve", "workers"]


async def serve(settings: Settings) -> None:
    """Work until SIGTERM; what is in hand gets two seconds, and Temporal gives the rest to another worker."""
    sessions = create_sessions(settings.postgres)
    cluster = RayServeClient(
        settings.ray.dashboard_url,
        settings.ray.auth_token.get_secret_value(),
        host=settings.ray.http_host,
        port=settings.ray.http_port,
    )
    artifacts = ArtifactCache(
        settings.serving.cache_dir, ObjectStorage(settings.storage), max_bytes=settings.serving.cache_max_bytes
    )
    asker = HttpReplicaAsker(timeout=settings.gateway.candidate_timeout)
    redis = Redis.from_url(settings.redis.url.get_secret_value())
    prometheus = PrometheusMeter(settings.analysis.prometheus_url, settings.analysis.prometheus_token_file)
    webhooks = WebhookMeter(settings.analysis.webhooks)
    announcer = WebhookAnnouncer(settings.notifications.webhooks)
    drift = DriftMeter(PostgresDriftRecords(sessions))
    planner = Planner(
        PostgresCapacity(sessions),
        cluster,
        cluster,
        CapacityRules(settings.capacity.team_gpus, settings.capacity.cluster_grows),
    )
    inspector = SubprocessInspector(
        artifacts,
        max_memory_bytes=settings.serving.max_model_memory_bytes,
        terms=Terms.of(settings.serving),
        allow_requirements=settings.serving.allow_requirements,
        at_once=settings.serving.inspections_at_once,
    )
    ports = Ports(
        registrar=Registrar(PostgresRegistrations(sessions)),
        registry=PostgresRegistry(sessions),
        deployments=PostgresDeployments(sessions),
        activation_history=PostgresActivationHistory(sessions),
        plans=PostgresTrafficPlans(sessions),
        bus=RedisTrafficBus(redis),
        applications=PostgresApplications(sessions),
        cluster=cluster,
        planner=planner,
        inspector=inspector,
        probe=HttpReplicaProbe(),
        backtests=PostgresBacktests(sessions),
        asker=asker,
        compare=compare,
        judge=StepJudging,
        observations=PostgresObservations(sessions),
        meters={
            Source.ACCURACY: PostgresAccuracy(sessions),
            Source.CONFIDENCE: PostgresPredictions(sessions),
            Source.PREDICTION: PostgresPredictions(sessions),
            Source.ANSWERS: PostgresAnswers(sessions),
            Source.PROMETHEUS: prometheus,
            Source.WEBHOOK: webhooks,
            Source.DRIFT: drift,
        },
        sticky_callers=PostgresStickyCallers(sessions),
        slots=PostgresConcurrencySlots(sessions, limit=settings.deployments.max_concurrent),
        queue=PostgresDeploymentQueue(sessions),
        queue_notifications=PostgresQueueNotifications(sessions.engine),
        monitor=ActiveVersionMonitor(PostgresMonitorData(sessions), drift),
        alerts=PostgresAlerts(sessions),
        rollbacks=MonitorRollbacks(
            WayBack(settings, PostgresDeploymentReader(sessions)),
            acceptance(sessions, settings.deployments, planner),
        ),
        announcer=announcer,
        lost_after=settings.proxies.lost_after,
        settle_seconds=settings.gateway.candidate_timeout.total_seconds(),
        artifacts_at_once=inspector.fetched_at_once,
    )
    client = await connect(
        identity=f"worker-{os.getpid()}@{socket.gethostname()}",
        interceptors=start_tracing("worker", settings.telemetry),
        metrics=settings.telemetry.worker_metrics,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as running:
        polling = workers(client, ports)
        for worker in polling:
            await running.enter_async_context(worker)
        await running.enter_async_context(answering(settings, sessions, stop))
        await ensure_schedules(client)
        mark_ready()
        await stop.wait()
        # All at once: one after the other, each would take the two seconds.
        await asyncio.gather(*(worker.shutdown() for worker in polling))
    inspector.close()
    await cluster.aclose()
    await asker.aclose()
    await prometheus.aclose()
    await webhooks.aclose()
    await announcer.aclose()
    await redis.aclose()
    await sessions.aclose()


@asynccontextmanager
async def answering(settings: Settings, sessions: Sessions, stop: asyncio.Event) -> AsyncIterator[None]:
    """Answer asynchronous inference meanwhile, if this worker has a token to ask with.

    An error in it ends the worker and is raised: another worker will start.
    """
    if (token_file := settings.inference.token_file) is None:
        yield
        return
    gateway = InferenceGateway(settings.gateway.public_url, token_file)
    answering = Answering(PostgresAsyncInference(sessions), gateway, at_once=settings.inference.at_once)
    running = asyncio.create_task(answering.run())
    running.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await gateway.aclose()
    if not running.cancelled():
        running.result()


def main() -> None:
    run_service("worker", Settings, serve)


if __name__ == "__main__":
    main()
