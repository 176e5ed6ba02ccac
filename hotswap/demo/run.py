"""The main job, for real, in under two minutes.

Starts a stack of its own, deploys a first version, canaries a second under continuous load and kills the worker with -9
between two weight changes, then deploys a broken third version, which must be caught and rolled back by itself. It
reports what clients and Temporal's history saw, and exits 0 only if every claim holds.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from hotswap.client import HotSwap
from hotswap.demo import account
from hotswap.demo.account import Claim, Split
from hotswap.demo.history import WeightChange, weight_changes
from hotswap.demo.models import TrainedModels, train
from hotswap.demo.traffic import TIMEOUT_SECONDS, DemoAnswer, DemoTraffic
from hotswap.domain.ids import deployment_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import Environment
from hotswap.process.temporal import connect
from hotswap.schemas.requests import CreateDeployment, RegisterVersion
from hotswap.schemas.responses import DeploymentView
from hotswap.settings import StorageSettings
from hotswap.stack import control_environment
from hotswap.storage.objects import ObjectStorage

MODEL = "tumour"
FIRST, GOOD, BROKEN = "1.0.0", "2.0.0", "3.0.0"
CANARY = {
    "canaryPercentage": 10,
    "incrementStep": 30,
    "monitoringDuration": "PT5S",
    "bakeDeadline": "PT2M",
}

UNTRIED = {**CANARY, "backtest": {"samples": 0}}
"""Recorded requests would show the broken version before any client has met it; here traffic is to show it."""

BRIEFLY = {"firstVersion": {"monitoringDuration": "PT1S"}}
"""Nobody asks the first version yet, so there is nothing to watch it by."""

PAUSE_SECONDS = 0.06
"""Six clients ask some 80 times a second: plenty for every bake, and a core is left to what they watch."""

console = Console(stderr=True, highlight=False)


def run(*, port_base: int | None, data_dir: Path | None, keep: bool, table: bool = True) -> bool:
    """Run the demo, and return whether every claim holds.

    The account goes to stderr, and its one line of JSON to stdout.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hotswap-demo-") as scratch:
        # PostgreSQL may run as another user, who must be able to come here.
        Path(scratch).chmod(0o711)
        data = data_dir or Path(scratch) / "data"
        options = ["--data-dir", str(data)]
        _hotswap("up", "--detach", *options, *(["--port-base", str(port_base)] if port_base else []))
        try:
            summary, claims = _Demo(data, Path(scratch)).run()
        finally:
            if keep and data_dir is not None:
                console.print(f"the stack goes on; stop it with: hotswap down --data-dir {data}")
            else:
                _hotswap("down", *options)
    summary["seconds"] = round(time.monotonic() - begun, 1)
    if table:
        _show(claims)
    sys.stdout.write(json.dumps(summary) + "\n")
    return all(claim.holds for claim in claims)


class _Demo:
    def __init__(self, data: Path, scratch: Path) -> None:
        self._data = data
        self._scratch = scratch
        self._environment = json.loads(_hotswap("env", "--json", "--data-dir", str(data), quiet=True))
        self._url = self._environment["urls"]["public"]
        self._token = (data / "secrets" / "token").read_text().strip()
        self._api = HotSwap(self._url, self._token)

    def run(self) -> tuple[dict[str, Any], list[Claim]]:
        models = self._register()
        self._say(f"deploying {FIRST}, the first version: straight to 100% after validation and warm-up")
        first = self._until_ended(
            self._api.deployments.start(
                CreateDeployment(model_id=MODEL, version=FIRST, strategy_config=BRIEFLY)
            ).deployment_id
        )
        traffic = DemoTraffic(self._url, self._token, MODEL, models.requests, pause=PAUSE_SECONDS)
        begun = time.time()
        traffic.start()
        try:
            good, killed = self._canary_with_a_killed_worker()
            promoted_at = time.time()
            self._say(f"canary of {BROKEN}, which fails on inputs that are not among its golden requests")
            broken = self._until_ended(
                self._api.deployments.start(
                    CreateDeployment(model_id=MODEL, version=BROKEN, strategy_config=UNTRIED)
                ).deployment_id
            )
            time.sleep(1)
        finally:
            traffic.stop()
        stopped = time.time()
        good_changes, broken_changes = asyncio.run(self._changes(good, broken))
        answers = traffic.answers
        silence = account.longest_silence(answers, begun=begun, ended=stopped)
        split = account.splits(answers, good_changes, candidate=GOOD, end=promoted_at)
        rollback = account.rollback_seconds(answers, broken_changes, broken=BROKEN)
        errors = account.errors_of(answers, BROKEN)
        felt = [error for error in errors if not error.succeeded]
        failed = account.failures(answers, broken=BROKEN)
        below_full = sum(each.candidate for each in split if each.weight < 10_000)
        below_full -= len(account.errors_of(answers, GOOD))
        taken_over = killed and account.was_taken_over(good_changes)
        claims = [
            Claim(f"{FIRST} is deployed", first.status, first.status is DeploymentStatus.ACTIVE),
            Claim(f"{GOOD} is promoted", f"{good.status}: {good.reason}", good.status is DeploymentStatus.ACTIVE),
            Claim("a second worker took over after kill -9", _workers(good_changes), taken_over),
            *(_split_claim(each) for each in split),
            Claim(
                f"{GOOD} answered below 100%", f"{below_full} requests", below_full >= account.LEAST_CANDIDATE_REQUESTS
            ),
            Claim(
                f"{BROKEN} passed validation and got traffic",
                f"{len(broken_changes)} weight changes",
                bool(broken.validation and broken.validation.passed and len(broken_changes) > 1),
            ),
            Claim(
                f"{BROKEN} is rolled back by itself",
                f"{broken.status}: {broken.reason}",
                broken.status is DeploymentStatus.ROLLED_BACK and broken.reason == "ErrorRateIncreased",
            ),
            Claim("its errors were seen, and ended", _ended(len(errors), rollback), rollback is not None),
            Claim("the stable answered for it: no client felt one", _told(felt), not felt),
            Claim(
                "clients kept asking and were answered",
                f"{len(answers)} requests, at most {silence:.1f} s without an answer",
                silence < TIMEOUT_SECONDS,
            ),
            Claim("no other request failed", _told(failed), not failed),
        ]
        summary = {
            "promoted": good.version if good.status is DeploymentStatus.ACTIVE else None,
            "rolledBack": broken.version if broken.status is DeploymentStatus.ROLLED_BACK else None,
            "workerKilled": taken_over,
            "requests": len(answers),
            "longestSilenceSeconds": round(silence, 3),
            "failed": len(failed),
            "candidateErrors": len(errors),
            "candidateErrorsFelt": len(felt),
            "rollbackSeconds": None if rollback is None else round(rollback, 3),
            "canaryRequests": below_full,
        }
        return summary, claims

    def _register(self) -> TrainedModels:
        self._say("training three versions on the Wisconsin breast cancer data, one of them broken")
        models = train(self._scratch)
        control = control_environment(self._data)
        storage = ObjectStorage(
            StorageSettings.model_validate(
                {name: control[f"HOTSWAP_STORAGE__{name.upper()}"] for name in ("endpoint", "access_key", "secret_key")}
            )
        )
        for version, archive in models.archives.items():
            uri = f"s3://ml-models/{MODEL}/{archive.name}"
            storage.upload(archive, uri)
            self._api.models.register(RegisterVersion(name=MODEL, version=version, framework="ONNX", artifact_path=uri))
            self._api.versions.await_registration(MODEL, version)
            self._say(f"registered {MODEL} {version} from {uri}")
        return models

    def _canary_with_a_killed_worker(self) -> tuple[DeploymentView, bool]:
        self._say(f"canary of {GOOD} under load; the worker is killed with -9 in the middle")
        accepted = self._api.deployments.start(CreateDeployment(model_id=MODEL, version=GOOD, strategy_config=CANARY))
        killed = False
        shown = None
        for deployment in self._api.deployments.follow(accepted.deployment_id, interval=0.2):
            if (deployment.status, deployment.traffic_percentage) != shown:
                shown = (deployment.status, deployment.traffic_percentage)
                self._show_progress(deployment)
            if not killed and 0 < deployment.traffic_percentage < 100:
                pid = self._environment["parts"]["worker"]["pid"]
                os.kill(pid, signal.SIGKILL)
                killed = True
                self._say(f"killed the worker, process {pid}, with -9")
        return deployment, killed

    def _until_ended(self, deployment_id: str) -> DeploymentView:
        shown = None
        for deployment in self._api.deployments.follow(deployment_id, interval=0.2):
            if (deployment.status, deployment.traffic_percentage) != shown:
                shown = (deployment.status, deployment.traffic_percentage)
                self._show_progress(deployment)
        return deployment

    async def _changes(self, *deployments: DeploymentView) -> list[list[WeightChange]]:
        os.environ.update(
            {name: value for name, value in control_environment(self._data).items() if name.startswith("TEMPORAL_")}
        )
        client = await connect()
        workflow_id = deployment_workflow_id(Environment.PRODUCTION, MODEL)
        return [await weight_changes(client, workflow_id, deployment.run_id) for deployment in deployments]

    def _show_progress(self, deployment: DeploymentView) -> None:
        weight = f"{deployment.traffic_percentage:g}%"
        self._say(f"  {deployment.version} {deployment.status} at {weight}: {deployment.message or ''}")

    def _say(self, text: str) -> None:
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}")


def _split_claim(split: Split) -> Claim:
    return Claim(
        f"{split.weight / 100:g}% was honored",
        f"{split.candidate} of {split.requests}, expected {split.lowest} to {split.highest}",
        split.is_honoured,
    )


def _ended(errors: int, rollback: float | None) -> str:
    if rollback is None:
        return f"{errors} errors, and it was not withdrawn"
    return f"{errors} errors, withdrawn {rollback:.2f} s after the first"


def _told(failed: list[DemoAnswer]) -> str:
    """Return how many there are, and the first of them."""
    if not failed:
        return "none failed"
    first = failed[0]
    at = time.strftime("%H:%M:%S", time.localtime(first.answered_at))
    return f"{len(failed)} failed; at {at} {first.status} from {first.version}: {first.problem}"


def _workers(changes: list[WeightChange]) -> str:
    return " then ".join(dict.fromkeys(change.worker for change in changes))


def _show(claims: list[Claim]) -> None:
    table = Table("claim", "seen", "")
    for claim in claims:
        table.add_row(claim.what, claim.seen, "[green]holds[/green]" if claim.holds else "[red]FAILS[/red]")
    console.print(table)


def _hotswap(*arguments: str, quiet: bool = False) -> str:
    """Run another `hotswap` command as a user would."""
    command = [sys.executable, "-m", "hotswap.cli", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE if quiet else sys.stderr, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise typer.Exit(done.returncode)
    return done.stdout or ""
