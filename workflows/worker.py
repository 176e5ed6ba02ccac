"""The worker process: the only file that wires adapters to activities.

One process polls three queues, since watches and waits are long and must not starve what acts. Its identity names
process and host, so that a deployment's history tells which worker did what.
"""

import gc

gc.disable()  # until all is imported: that stays, and looking through it again and again takes a quarter of the start

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.analysis import AnalysisActivities
from activities.backtest import BacktestActivities
from activities.capacity import CapacityActivities
from activities.concurrent import References
from activities.deployments import DeploymentActivities
from activities.monitoring import MonitoringActivities
from activities.observations import Sources
from activities.promotion import PromotionActivities
from activities.queueing import QueueActivities
from activities.readiness import ReadyReplicas
from activities.reconciliation import ReconciliationActivities
from activities.registry import RegistryActivities
from activities.replicas import ReplicaActivities
from activities.traffic import TrafficActivities
from activities.validation import ValidationActivities
from hotswap import ports as port
from hotswap.analysis.backtest import compare
from hotswap.analysis.judge import StepJudging
from hotswap.deployments.capacity import CapacityRules, Planner
from hotswap.deployments.rollback import MonitorRollbacks, WayBack
from hotswap.domain.analysis import Source
from hotswap.inference.gateway import InferenceGateway
from hotswap.inference.worker import Answering
from hotswap.messages import TASK_QUEUE, waiting_queue, watch_queue
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
from hotswap.persistence.platform.database import Sessions, create_engine
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
from workflows.deployment import DeploymentWorkflow
from workflows.monitor import AnnouncementWorkflow, MonitorWorkflow
from workflows.polling import Worker
from workflows.queue import QueueWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.registration import RegistrationWorkflow
from workflows.retirement import RetirementWorkflow
from workflows.scaling import ScalingWorkflow
from workflows.schedules import ensure_schedules

gc.enable()


@dataclass(frozen=True, slots=True)
class Ports:
    """The adapters through which the activities reach the world."""

    registrar: port.VersionRegistrar
    registry: port.Registry
    deployments: port.Deployments
    activation_history: port.ActivationHistory
    plans: port.TrafficPlans
    bus: port.TrafficBus
    applications: port.DesiredApplications
    cluster: port.ServeCluster
    planner: Planner
    inspector: port.Inspector
    probe: port.ReplicaProbe
    backtests: port.Backtests
    asker: port.ReplicaAsker
    compare: port.Comparison
    judge: port.Judge
    observations: port.Observations
    meters: Mapping[Source, port.Meter]
    sticky_callers: port.StickyCallers
    slots: port.ConcurrencySlots
    queue: port.DeploymentQueue
    queue_notifications: port.QueueNotifications
    monitor: port.Monitor
    alerts: port.Alerts
    rollbacks: port.AlertRollbacks
    announcer: port.Announcer
    settle_seconds: float = 0.0
    """The time that a candidate may take for a request, which may be in flight after a change of its weight."""


WORKFLOWS = [
    AnnouncementWorkflow,
    DeploymentWorkflow,
    MonitorWorkflow,
    QueueWorkflow,
    ReconcileWorkflow,
    RegistrationWorkflow,
    RetirementWorkflow,
    ScalingWorkflow,
]

# Pure modules are shared with the sandbox: imported anew they would cost each workflow 300 ms and 6 MB.
SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "hotswap", "activities", "workflows", "pydantic", "pydantic_core", "annotated_types"
    )
)


def workers(client: Client, ports: Ports, *, task_queue: str = TASK_QUEUE) -> tuple[Worker, ...]:
    """Return the workers that act, that watch and that wait; all of them are to be run."""
    registry = RegistryActivities(ports.registrar, ports.inspector)
    deployments = DeploymentActivities(ports.deployments, ports.applications, ports.queue)
    queueing = QueueActivities(ports.slots, ports.queue, ports.queue_notifications)
    promotion = PromotionActivities(ports.activation_history)
    validation = ValidationActivities(ports.registry, ports.inspector)
    replicas = ReplicaActivities(ports.applications, ports.cluster, ports.probe)
    backtest = BacktestActivities(ports.backtests, ports.cluster, ports.asker, ports.compare)
    capacity = CapacityActivities(ports.planner)
    ready = ReadyReplicas(ports.applications, ports.cluster)
    traffic = TrafficActivities(ports.plans, ports.bus, ports.deployments, ready, settle_seconds=ports.settle_seconds)
    reconciliation = ReconciliationActivities(ports.plans, ports.bus)
    references = References(ports.backtests, ports.cluster, ports.asker)
    analysis = AnalysisActivities(
        Sources(ports.bus, ports.meters, ports.sticky_callers, references), ports.observations, ports.judge
    )
    monitoring = MonitoringActivities(ports.monitor, ports.alerts, ports.rollbacks, ports.announcer)
    acting = Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[
            registry.inspect_artifact,
            registry.add_version,
            deployments.open_deployment,
            deployments.find_leftovers,
            deployments.record_transition,
            deployments.record_decision,
            deployments.record_approval,
            promotion.find_tenure,
            validation.validate_version,
            backtest.backtest,
            capacity.plan_capacity,
            capacity.resize_replicas,
            replicas.start_replicas,
            replicas.warm_up,
            replicas.count_replicas,
            replicas.scale_replicas,
            replicas.await_replicas,
            replicas.release_replicas,
            replicas.retire_replicas,
            replicas.repair_applications,
            reconciliation.publish_plan,
            traffic.set_weight,
            traffic.make_active,
            traffic.withdraw_candidate,
            queueing.leave_queue,
            monitoring.look_at_accuracy,
            monitoring.look_for_drift,
            monitoring.announce,
            monitoring.mark_told,
            monitoring.raise_alert,
            monitoring.ask_for_rollback,
            monitoring.record_rollback,
        ],
        workflow_runner=SANDBOX,
        # After a kill -9 the next workflow task would otherwise wait 10 s for the dead worker's sticky queue. A live
        # worker that is late by more pays with a replay of some milliseconds.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=0.5),
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=2),
    )
    watching = Worker(
        client,
        task_queue=watch_queue(task_queue),
        activities=[analysis.watch],
        max_concurrent_activities=1_000,
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=2),
    )
    waiting = Worker(
        client,
        task_queue=waiting_queue(task_queue),
        activities=[queueing.take_slot, queueing.await_turn],
        max_concurrent_activities=5_000,
        max_heartbeat_throttle_interval=timedelta(seconds=5),
        default_heartbeat_throttle_interval=timedelta(seconds=5),
        graceful_shutdown_timeout=timedelta(seconds=2),
    )
    return acting, watching, waiting


async def serve(settings: Settings) -> None:
    """Work until SIGTERM; what is in hand gets two seconds, and Temporal gives the rest to another worker."""
    engine = create_engine(settings.postgres)
    sessions = Sessions(engine)
    cluster = RayServeClient(
        settings.ray.dashboard_url,
        settings.ray.auth_token.get_secret_value(),
        host=settings.ray.http_host,
        port=settings.ray.http_port,
    )
    artifacts = ArtifactCache(settings.serving.cache_dir, ObjectStorage(settings.storage))
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
        inspector=SubprocessInspector(
            artifacts,
            max_memory_bytes=settings.serving.max_model_memory_bytes,
            terms=Terms.of(settings.serving),
            allow_requirements=settings.serving.allow_requirements,
        ),
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
        queue_notifications=PostgresQueueNotifications(engine),
        monitor=ActiveVersionMonitor(PostgresMonitorData(sessions), drift),
        alerts=PostgresAlerts(sessions),
        rollbacks=MonitorRollbacks(
            WayBack(settings, PostgresDeploymentReader(sessions)),
            acceptance(sessions, settings.deployments, planner),
        ),
        announcer=announcer,
        settle_seconds=settings.gateway.candidate_timeout.total_seconds(),
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
        for worker in workers(client, ports):
            await running.enter_async_context(worker)
        await running.enter_async_context(answering(settings, sessions, stop))
        await ensure_schedules(client)
        mark_ready()
        await stop.wait()
    await cluster.aclose()
    await asker.aclose()
    await prometheus.aclose()
    await webhooks.aclose()
    await announcer.aclose()
    await redis.aclose()
    await engine.dispose()


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
