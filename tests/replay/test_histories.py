"""Deployments that are under way survive an upgrade: the workflows of today replay the histories of each release."""

import hashlib
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from hotswap.process.temporal import DATA_CONVERTER
from tests.replay.record import FOLDERS, SCENARIOS, UNRELEASED
from workflows.worker import SANDBOX, WORKFLOWS

RECORDED = sorted(FOLDERS.glob("*/*.json"))
RELEASES = sorted({path.parent for path in RECORDED} - {UNRELEASED})

WHAT_TO_DO = """
A workflow gives Temporal other commands, or in another order, than when this history was recorded. A deployment that is
under way on that release would be stuck at this point after an upgrade, and so would its abort.

- Put the new command behind `if workflow.patched("name-of-the-change"):`, and leave the old way as it was beside it.
- Then record a scenario that takes the new way: `python -m tests.replay.record SCENARIO`.
- Never record a history of a release again, and never delete one while that release may have deployments under way.
"""


async def replay(name: str, history: str) -> None:
    """Fail, and say what to do, where the workflows of today give other commands than those of a history."""
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=SANDBOX, data_converter=DATA_CONVERTER)
    try:
        await replayer.replay_workflow(WorkflowHistory.from_json(name, history))
    except NondeterminismError as error:
        pytest.fail(f"{name}: {error}\n{WHAT_TO_DO}", pytrace=False)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_a_recorded_history_replays(path: Path) -> None:
    await replay(f"{path.parent.name}/{path.stem}", path.read_text())


async def test_another_command_fails_and_teaches() -> None:
    """So that the test above can fail."""
    history = (RELEASES[0] / "promoted.json").read_text().replace("start_replicas", "start_other_replicas")
    with pytest.raises(pytest.fail.Exception, match=r"start_other_replicas[\s\S]*workflow\.patched"):
        await replay("promoted", history)


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_the_histories_of_a_release_are_never_recorded_again(release: Path) -> None:
    lines = (release / "SHA256SUMS").read_text().splitlines()
    known = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert known == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in release.glob("*.json")}


def test_every_scenario_is_recorded() -> None:
    assert {scenario.__name__ for scenario in SCENARIOS} <= {path.stem for path in RECORDED}
