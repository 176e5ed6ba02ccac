"""What the commands say when there is nothing to do, or nothing that can be done."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hotswap.bootstrap import layout as places
from hotswap.bootstrap.layout import Layout, StackError
from hotswap.cli.app import app
from hotswap.stack.lifecycle import acquire, choose_ports, is_running, locked, sweep_leftovers
from hotswap.stack.ports import at_base

runner = CliRunner()


def test_env_without_a_stack_fails_on_one_line(tmp_path: Path) -> None:
    result = runner.invoke(app, ["env", "--json", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert f"no stack runs on {tmp_path}" in result.output


def test_env_has_one_form_at_a_time(tmp_path: Path) -> None:
    assert runner.invoke(app, ["env", "--json", "--shell", "--data-dir", str(tmp_path)]).exit_code == 2


def test_down_without_a_stack_is_no_failure(tmp_path: Path) -> None:
    result = runner.invoke(app, ["down", "--data-dir", str(tmp_path / "absent")])
    assert result.exit_code == 0
    assert "no stack runs" in result.output
    said = json.loads(runner.invoke(app, ["down", "--json", "--data-dir", str(tmp_path / "absent")]).stdout)
    assert said == {"dataDir": str(tmp_path / "absent"), "stopped": False, "killed": 0}
    assert not (tmp_path / "absent").exists()


def test_ports_are_kept_until_others_are_asked_for(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert choose_ports(layout, None) == at_base(None)
    assert choose_ports(layout, 20000) == at_base(20000) == choose_ports(layout, None)
    assert choose_ports(layout, 0) == at_base(None) == choose_ports(layout, None)


@pytest.mark.slow
def test_one_stack_per_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "data")
    monkeypatch.setattr(places, "traversable_by_others", lambda _path: None)  # pytest's directories are closed
    assert not is_running(layout)
    with locked(layout):
        assert is_running(layout)
        with pytest.raises(StackError, match="already"):
            acquire(layout)
    assert not is_running(layout)


def test_a_sweep_removes_what_ray_left_outside_and_keeps_its_last_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "traversable_by_others", lambda _: None)
    layout = Layout(tmp_path / "data")
    places.create(layout)
    for said in ("first", "last"):
        logs = layout.ray_sessions / f"session_{said}" / "logs"
        logs.mkdir(parents=True)
        (logs / f"{said}.log").touch()
        (layout.ray_sessions / "session_latest").symlink_to(logs.parent)
        sweep_leftovers(layout)
        assert not layout.ray_temp.exists()
    assert [path.name for path in layout.ray_last_logs.iterdir()] == ["last.log"]
