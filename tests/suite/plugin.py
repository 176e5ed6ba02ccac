"""The pytest plugin of a run: writes what each file cost and what failed to the file that HOTSWAP_TEST_REPORT names.

With xdist each worker counts its own process and what descends from it, and hands the figures to the controller. The
tests of a file stay together in one worker, so the growth from one file to the next is what the file cost.
"""

import gc
import json
import os
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

REPORT = "HOTSWAP_TEST_REPORT"


def spent() -> float:
    """Return the processor seconds of this process and of all below it, without the servers that it shares."""
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + waited.ru_utime + waited.ru_stime
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])  # user, system, and those of the children that it waited for
    return total


class Report:
    """Counts and failures of one process of pytest; the controller's holds those of its workers too."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._spent = 0.0
        self._files: dict[str, float] = defaultdict(float)
        self._failures: dict[str, str] = {}
        self._outcomes: Counter[str] = Counter()

    @property
    def _is_worker(self) -> bool:
        return hasattr(self._config, "workerinput")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        self._spent = self._spent or self._count("(importing and collecting)")
        ended = yield
        file = item.nodeid.partition("::")[0]
        if nextitem is None or nextitem.nodeid.partition("::")[0] != file:
            self._count(file)
        return ended

    def pytest_collection_finish(self) -> None:
        """Leave what was imported and collected to no later collection: it is there until the end."""
        gc.freeze()
        gc.enable()

    def _count(self, file: str) -> float:
        before, self._spent = self._spent, spent()
        self._files[file] += self._spent - before
        return self._spent

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            text = "\n".join((report.longreprtext, *(f"{title}\n{content}" for title, content in report.sections)))
            self._failures.setdefault(report.nodeid, text[-8_000:])
        elif report.when == "call" or report.skipped:
            self._outcomes[report.outcome] += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for file, cost in getattr(node, "workeroutput", {}).get("costs", {}).items():
            self._files[file] += cost

    def pytest_sessionfinish(self) -> None:
        if self._is_worker:
            self._config.workeroutput["costs"] = dict(self._files)  # type: ignore[attr-defined]
        elif REPORT in os.environ:
            content = {"files": self._files, "failures": self._failures, "outcomes": self._outcomes}
            Path(os.environ[REPORT]).write_text(json.dumps(content))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all is collected: a tenth of what imports take is the search for garbage, and there is none
    config.add_cleanup(gc.freeze)  # the last of all cleanups: the process ends, and need not search what it leaves
    config.pluginmanager.register(Report(config), "hotswap-suite-report")
