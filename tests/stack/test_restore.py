"""A backup of the embedded stack, restored over it while a deployment was under way, by one command each."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment
from tests.fixtures.patience import wait_until
from tests.fixtures.ports import free_base
from tests.fixtures.stack import Stack, hotswap, start
from tests.fixtures.work import ended, register

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

MODEL = "restored"
SETTINGS = {"HOTSWAP_DEPLOYMENTS__MONITORING_DURATION": "PT1S"}


@pytest.fixture
def stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="hotswap-restore-") as place:
        Path(place).chmod(0o711)
        data = Path(place) / "data"
        try:
            made = start(data, free_base(), SETTINGS)
            yield made
            made.close()
        finally:
            hotswap("down", "--data-dir", str(data), expect=None)


def test_what_was_under_way_at_the_backup_is_named_and_goes_back(
    stack: Stack, trained: TrainedModels, tmp_path: Path
) -> None:
    for version in ("1.0.0", "2.0.0"):
        register(stack, trained, MODEL, version)
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=MODEL, version="1.0.0")).deployment_id)
    assert first.status is S.ACTIVE, first.message
    config = {"canaryPercentage": 10, "monitoringDuration": "PT1H"}
    lost = stack.api.deployments.start(
        CreateDeployment(model_id=MODEL, version="2.0.0", strategy_config=config)
    ).deployment_id
    wait_until(lambda: stack.api.deployments.get(lost).traffic_percentage == 10, what="the candidate's 10%", seconds=60)
    url = stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    with psycopg.connect(url) as connection:  # else it would count as about to be started
        connection.execute("UPDATE deployments SET started_at = started_at - interval '5 minutes'")
    data, archive = str(stack.data), tmp_path / "backup.tar"
    made = json.loads(hotswap("backup", str(archive), "--with-keys", "--data-dir", data, "--json").stdout)
    assert made["artifacts"] >= 2
    stack.api.deployments.abort(lost)
    assert ended(stack, lost).status is S.ROLLED_BACK

    refused = hotswap("restore", str(archive), "--data-dir", data, expect=1)
    assert "--replace" in refused.stderr
    assert stack.api.deployments.get(lost).status == S.ROLLED_BACK, "nothing was stopped or changed"
    restored = hotswap("restore", str(archive), "--replace", "--with-keys", "--data-dir", data, "--json")
    found = json.loads(restored.stdout)["findings"]
    assert ("DeploymentWithoutWorkflow", lost, "EndDeployment") in [
        (each["kind"], each["subject"], each["repair"]) for each in found
    ]
    assert ended(stack, lost).reason == "WorkflowLost"
    assert stack.api.models.get(MODEL).active_version == "1.0.0"
