"""The worker process: the only file that wires adapters to activities.

One process polls two queues, since watches are long and must not starve what acts. Its identity names process and
host, so that a deployment's history tells which worker did what.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.analysis import AnalysisActivities
from activities.deployments import DeploymentActivities
from activities.registry import RegistryActivities
from activities.replicas import ReplicaActivities
from activities.traffic import TrafficActivities
from activities.validation import ValidationActivities
from hotswap import ports as port
from hotswap.messages import TASK_QUEUE, watch_queue
from hotswap.settings import Settings, SettingsError, load
from hotswap.telemetry import configure_logging, mark_ready
from hotswap.temporal import connect
from workflows.deployment import DeploymentWorkflow
from workflows.registration import RegistrationWorkflow
from workflows.retirement import RetirementWorkflow

logger = logging.getLogger(__name__)

EX_CONFIG = 78


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the activities reach the world through."""

    registry: port.Registry
    deployments: port.Deployments
    plans: port.TrafficPlans
    bus: port.TrafficBus
    applications: port.DesiredApplications
    cluster: port.ServeCluster
    inspector: port.Inspector
    probe: port.ReplicaProbe
    judge: port.Judge


def workers(client: Client, ports: Ports, *, task_queue: str = TASK_QUEUE) -> tuple[Worker, Worker]:
    """The worker that acts, and the one that watches; both are to be run."""
    registry = RegistryActivities(ports.registry, ports.inspector)
    deployments = DeploymentActivities(ports.deployments)
    validation = ValidationActivities(ports.registry, ports.inspector)
    replicas = ReplicaActivities(ports.applications, ports.cluster, ports.probe, ports.plans)
    traffic = TrafficActivities(ports.plans, ports.bus, ports.deployments)
    analysis = AnalysisActivities(ports.bus, ports.deployments, ports.judge)
    acting = Worker(
        client,
        task_queue=task_queue,
        workflows=[DeploymentWorkflow, RegistrationWorkflow, RetirementWorkflow],
        activities=[
            registry.inspect_artifact,
            registry.add_version,
            deployments.open_deployment,
            deployments.record_transition,
            deployments.record_decision,
            deployments.record_approval,
            validation.validate_version,
            replicas.start_replicas,
            replicas.warm_up,
            replicas.retire_replicas,
            traffic.set_weight,
            traffic.make_active,
            traffic.withdraw_candidate,
        ],
        # Pure modules are shared with the sandbox: imported anew they would cost each workflow 300 ms and 6 MB.
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(
                "hotswap", "activities", "workflows", "pydantic", "pydantic_core", "annotated_types"
            )
        ),
        # After a kill -9 the next workflow task would otherwise wait 10 s for the dead worker's sticky queue.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
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
    return acting, watching
