"""The runner of the suite (`tests/suite`): what failed once, what failed twice, what it all cost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.documents import ROOT
from tests.fixtures.patience import patient

pytestmark = pytest.mark.slow

TESTS = {
    "test_good.py": "def test_passes(): pass",
    "test_flaky.py": """
from pathlib import Path
def test_fails_once():
    mark = Path(__file__).with_name("was-here")
    was_here, _ = mark.exists(), mark.touch()
    assert was_here, "the first failure's text"
""",
    "test_bad.py": "def test_fails_twice(): assert False, 'always'",
}
"""A file each, as a real part has them."""

SPINS = "import time\nwhile time.process_time() < 0.5: pass\n"
SLEEPS = "import time\ntime.sleep(1_000)\n"


def detaching(code: str) -> str:
    """A program that ends at once, and leaves another behind."""
    command = ["/bin/sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 &', "sh", sys.executable, "-S", "-c", code]
    return f"import subprocess; subprocess.run({command!r})"


PRELUDE = """
import json
from tests.suite import processes
from tests.suite.__main__ import run
from tests.suite.parts import Part, Tier
"""


class Runner:
    """The runner in a process of its own, since it takes every child of its process for one of the run."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.figures = place / "state" / "hotswap" / "suite.jsonl"

    def execute(self, program: str) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program],
            cwd=self.place,
            env={
                **os.environ,
                "XDG_STATE_HOME": str(self.place / "state"),
                "PYTHONPATH": str(ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
            timeout=patient(60),
        )
        return done.returncode, done.stdout

    def run_part(self, **fields: object) -> tuple[int, str]:
        """Run a tier of one part."""
        return self.execute(f"raise SystemExit(run('toys', Tier(((Part('toys', **{fields!r}),),), bar=0)))")

    def run_tests(self, *names: str) -> tuple[int, str]:
        for name in names:
            (self.place / name).write_text(TESTS[name])
        return self.run_part(tests=names, options=("-c", "/dev/null", "--rootdir=.", "-p", "no:cacheprovider"))

    def run_command(self, code: str, *, limit: float = 600, end: float = 15) -> dict[str, Any]:
        """Run one Python program and return how it ended."""
        command = (sys.executable, "-S", "-c", code)
        program = f"processes.END_SECONDS = {end}; ended = processes.run({{'toy': {command!r}}}, limit={limit})['toy']"
        _, printed = self.execute(f"{program}; print(json.dumps(vars(ended)))")
        found: dict[str, Any] = json.loads(printed)
        return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_what_passes_the_second_time_is_named_and_what_fails_twice_is_red(runner: Runner) -> None:
    code, printed = runner.run_tests(*TESTS)
    assert code == 1
    assert "the first failure's text" in printed
    bad, flaky = "test_bad.py::test_fails_twice", "test_flaky.py::test_fails_once"
    assert printed.strip().splitlines()[-3:] == [f"red: {bad}", f"flaky: {flaky}", "2 passed, 1 failed, 0 skipped"]
    [line] = map(json.loads, runner.figures.read_text().splitlines())
    assert (line["flaky"], line["red"]) == ([flaky], [bad])
    assert line["parts"].keys() == {"toys", "toys, again"}
    assert line["cpu_seconds"] == pytest.approx(sum(line["parts"].values()), abs=0.2)


def test_a_run_in_which_nothing_fails_twice_is_green(runner: Runner) -> None:
    code, printed = runner.run_tests("test_good.py", "test_flaky.py")
    assert (code, "flaky: test_flaky.py::test_fails_once" in printed) == (0, True)


def test_what_breaks_without_a_failed_test_is_red(runner: Runner) -> None:
    assert runner.run_part(command=(sys.executable, "-S", "-c", "raise SystemExit(3)"))[0] == 1
    assert runner.run_part(tests=(str(runner.place),), options=("-c", "/dev/null", "--rootdir=."))[0] == 1, (
        "there is no test"
    )


def test_a_server_that_detached_itself_is_counted(runner: Runner) -> None:
    ended = runner.run_command(detaching(SPINS))
    assert (ended["code"], ended["killed"]) == (0, [])
    assert sum(ended["servers"].values()) >= 0.5


def test_what_outlives_its_part_is_killed_and_named(runner: Runner) -> None:
    ended = runner.run_command(detaching(SLEEPS), end=0.1)
    assert [what for what in ended["killed"] if "time.sleep(1_000)" in what]


def test_a_part_that_takes_more_than_its_limit_is_ended(runner: Runner) -> None:
    ended = runner.run_command(SLEEPS, limit=0.5)
    assert ended["code"] != 0
    assert ended["killed"] == ["toy itself, which took more than its limit"]
