"""The task queues of a worker process: which activities run in which of them, and how many at a time.

Each queue has slots of its own. Watches and waits are long, artifacts are slow and may be hostile, and none of them may
starve what acts. What takes traffic back has a queue that nothing else uses: an abort's first write waits for nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor
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
from hotswap.deployments.capacity import Planner
from hotswap.domain.analysis import Source
from hotswap.domain.proxies import LOST_AFTER
from hotswap.messages import TASK_QUEUE, artifact_queue, waiting_queue, watch_queue, way_back_queue
from hotswap.process.way_back import on_the_way_back
from workflows.deployment import DeploymentWorkflow
from workflows.monitor import AnnouncementWorkflow, MonitorWorkflow
from workflows.polling import Worker
from workflows.queue import QueueWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.registration import RegistrationWorkflow
from workflows.retirement import RetirementWorkflow
from workflows.scaling import ScalingWorkflow

Activity = Callable[..., Any]


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
    lost_after: timedelta = LOST_AFTER
    """How long a proxy that doesn't report any more counts."""
    settle_seconds: float = 0.0
    """The time that a candidate may take for a request, which may be in flight after a change of its weight."""
    artifacts_at_once: int = 4
    """How many artifacts are worked on at a time."""


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


class Activities:
    """The activities, all over the same ports."""

    def __init__(self, ports: Ports) -> None:
        self.registry = RegistryActivities(ports.registrar, ports.inspector)
        self.deployments = DeploymentActivities(ports.deployments, ports.applications, ports.queue)
        self.queueing = QueueActivities(ports.slots, ports.queue, ports.queue_notifications)
        self.promotion = PromotionActivities(ports.activation_history)
        self.validation = ValidationActivities(ports.registry, ports.inspector)
        self.replicas = ReplicaActivities(ports.applications, ports.cluster, ports.probe)
        self.backtest = BacktestActivities(ports.backtests, ports.cluster, ports.asker, ports.compare)
        self.capacity = CapacityActivities(ports.planner)
        self.traffic = TrafficActivities(
            ports.plans,
            ports.bus,
            ports.deployments,
            ReadyReplicas(ports.applications, ports.cluster),
            settle_seconds=ports.settle_seconds,
            lost_after=ports.lost_after,
        )
        references = References(ports.backtests, ports.cluster, ports.asker)
        self.analysis = AnalysisActivities(
            Sources(ports.bus, ports.meters, ports.sticky_callers, references, lost_after=ports.lost_after),
            ports.observations,
            ports.judge,
        )
        self.reconciliation = ReconciliationActivities(ports.plans, ports.bus)
        self.monitoring = MonitoringActivities(ports.monitor, ports.alerts, ports.rollbacks, ports.announcer)

    def acting(self) -> Sequence[Activity]:
        """Return what goes forward, and what has a queue of its own today but had none in earlier releases.

        Workers of such a release may have scheduled that in the queue that acts, and go on to do so during an upgrade.
        """
        return (
            *self.way_back(),
            *self.artifacts(),
            self.registry.add_version,
            self.deployments.open_deployment,
            self.deployments.find_leftovers,
            self.deployments.record_approval,
            self.promotion.find_tenure,
            self.backtest.backtest,
            self.capacity.plan_capacity,
            self.capacity.resize_replicas,
            self.replicas.start_replicas,
            self.replicas.warm_up,
            self.replicas.count_replicas,
            self.replicas.repair_applications,
            self.reconciliation.publish_plan,
            self.reconciliation.find_withdrawals,
            self.traffic.make_active,
            self.monitoring.look_at_accuracy,
            self.monitoring.look_for_drift,
            self.monitoring.announce,
            self.monitoring.mark_told,
            self.monitoring.ask_for_rollback,
            self.monitoring.record_rollback,
        )

    def way_back(self) -> Sequence[Activity]:
        """Return what the way back and the last status call; some of it is called forward too."""
        return (
            self.deployments.record_transition,
            self.deployments.record_decision,
            self.queueing.leave_queue,
            self.replicas.scale_replicas,
            self.replicas.await_replicas,
            self.replicas.release_replicas,
            self.replicas.retire_replicas,
            self.traffic.set_weight,
            self.traffic.withdraw_candidate,
            self.monitoring.raise_alert,
        )

    def artifacts(self) -> Sequence[Activity]:
        """Return what fetches artifacts and looks into them."""
        return self.registry.inspect_artifact, self.validation.validate_version

    def watches(self) -> Sequence[Activity]:
        """Return what observes a weight for as long as it bakes."""
        return (self.analysis.watch,)

    def waits(self) -> Sequence[Activity]:
        """Return what waits for a turn or a slot."""
        return self.queueing.take_slot, self.queueing.await_turn


class MarkWayBack(Interceptor):
    """Marks what a worker does as work that takes traffic back."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _WayBackActivities(next)


class _WayBackActivities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's names
        with on_the_way_back():
            return await super().execute_activity(input)


def workers(client: Client, ports: Ports, *, task_queue: str = TASK_QUEUE) -> tuple[Worker, ...]:
    """Return one worker for each task queue; all of them are to be run."""
    # The way back has objects of its own: it waits for no lock that others hold while they wait for a connection.
    activities, back = Activities(ports), Activities(ports)
    acting = _worker(
        client,
        task_queue,
        activities.acting(),
        workflows=WORKFLOWS,
        workflow_runner=SANDBOX,
        # After a kill -9 the next workflow task would otherwise wait 10 s for the dead worker's sticky queue. A live
        # worker that is late by more pays with a replay of some milliseconds.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=0.5),
    )
    # A deployment on its way back waits for proxies and replicas in its slot, for as long as they take.
    backward = _worker(
        client,
        way_back_queue(task_queue),
        back.way_back(),
        max_concurrent_activities=5_000,
        interceptors=[MarkWayBack()],
    )
    artifacts = _worker(
        client,
        artifact_queue(task_queue),
        activities.artifacts(),
        max_concurrent_activities=ports.artifacts_at_once,
        max_concurrent_activity_task_polls=min(5, ports.artifacts_at_once),
    )
    watching = _worker(client, watch_queue(task_queue), activities.watches(), max_concurrent_activities=1_000)
    waiting = _worker(
        client,
        waiting_queue(task_queue),
        activities.waits(),
        max_concurrent_activities=5_000,
        max_heartbeat_throttle_interval=timedelta(seconds=5),
        default_heartbeat_throttle_interval=timedelta(seconds=5),
    )
    return acting, backward, artifacts, watching, waiting


def _worker(client: Client, task_queue: str, activities: Sequence[Activity], **options: Any) -> Worker:
    options = {
        "max_heartbeat_throttle_interval": timedelta(seconds=1),
        "default_heartbeat_throttle_interval": timedelta(seconds=1),
        "graceful_shutdown_timeout": timedelta(seconds=2),
        **options,
    }
    return Worker(client, task_queue=task_queue, activities=activities, **options)
