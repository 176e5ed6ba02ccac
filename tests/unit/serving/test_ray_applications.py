"""What Ray's head keeps of what Serve runs, and what it tells Serve after a new start, by Serve's own REST."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving.ray import applications
from serving.ray.applications import KeptApplications, configuration, first_of, names, serve_api
from tests.fixtures.listening import listening


class FakeServe:
    """Serve as it answers: nothing before its first PUT has made a controller, then what it was told."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.answers: list[int] = []
        """Statuses to give to the next PUTs instead of taking them."""
        self.details: dict[str, Any] = {"controller_info": {}, "applications": {}}

    def put(self, wanted: dict[str, Any]) -> None:
        self.told.append(names(wanted))
        self.details = details(*names(wanted))


def details(*running: str, deleting: str | None = None) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {
        name: {"status": "RUNNING", "deployed_app_config": {"name": name, "import_path": "a:b"}} for name in running
    }
    if deleting:
        found[deleting] = {"status": "DELETING", "deployed_app_config": None}
    return {
        "controller_info": {"actor_id": "11aa"},
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": 8000},
        "applications": found,
    }


@pytest.fixture
def serve() -> FakeServe:
    return FakeServe()


@pytest.fixture
def api(serve: FakeServe, tmp_path: Path) -> Iterator[applications.ServeApi]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, json.dumps(serve.details).encode())

        def do_PUT(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = serve.answers.pop(0) if serve.answers else 200
            if status == 200:
                serve.put(wanted)
            self._answer(status, b"")

        def _answer(self, status: int, body: bytes) -> None:
            if self.headers["Authorization"] != "Bearer secret" or self.path != applications.PATH:
                status = 401
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    (tmp_path / "token").write_text("secret\n")
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        options = ["--head", "--dashboard-host=127.0.0.1", f"--dashboard-port={server.server_port}", "--no-monitor"]
        yield serve_api(options, {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "applications.json"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "KEEP_SECONDS", 0.01)
    monkeypatch.setattr(applications, "ASK_AGAIN_SECONDS", 0.01)


def keep(file: Path, *newest_first: str) -> None:
    file.write_text(json.dumps(configuration(details(*reversed(newest_first)))))


FRAUD = ["Production-fraud-3", "Production-fraud-2", "Production-fraud-1"]


@pytest.mark.parametrize(
    "said",
    [{}, {"controller_info": None}, {"controller_info": {}, "applications": {}}, {"controller_info": {"node_id": "1"}}],
)
def test_what_no_controller_has_said_is_not_kept(said: dict[str, Any]) -> None:
    assert configuration(said) is None


def test_the_newest_come_first_whatever_order_they_were_brought_back_in() -> None:
    found = configuration(details("a-1", "a-2", deleting="a-0"))
    assert found is not None
    assert names(found) == ["a-2", "a-1"]
    later = configuration(details("a-2", "a-1", "a-3", "a-4"), before=found)
    assert later is not None
    assert names(later) == ["a-4", "a-3", "a-2", "a-1"]
    assert later["http_options"] == {"host": "127.0.0.1", "port": 8000}


def test_two_of_each_model_and_environment_come_back_first() -> None:
    found = configuration(
        details("Production-a-1", "Staging-a-1", "Production-a-2", "Production-b-c-1", "Production-a-3")
    )
    assert found is not None
    assert names(first_of(found)) == ["Production-a-3", "Production-b-c-1", "Production-a-2", "Staging-a-1"]


def test_a_head_asks_until_serve_takes_what_ran_before(
    serve: FakeServe, api: applications.ServeApi, file: Path
) -> None:
    keep(file, *FRAUD)
    serve.answers = [500, 503]
    KeptApplications(file, api).restore()
    assert serve.told == [FRAUD[:2]]


def test_a_head_goes_on_without_what_serve_refuses(
    serve: FakeServe, api: applications.ServeApi, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(file, *FRAUD)
    serve.answers = [400]
    KeptApplications(file, api).restore()
    assert serve.told == []
    assert "refuses" in caplog.text


@pytest.mark.parametrize("text", [None, "", "{half"])
def test_a_head_that_knows_of_nothing_tells_serve_nothing(
    serve: FakeServe, api: applications.ServeApi, file: Path, text: str | None
) -> None:
    if text is not None:
        file.write_text(text)
    kept = KeptApplications(file, api)
    kept.restore()
    kept.restore_rest()
    assert serve.told == []


def starting(serve: FakeServe) -> None:
    serve.details["applications"][FRAUD[0]]["status"] = "DEPLOYING"


def replaced(serve: FakeServe) -> None:
    serve.details = details(*FRAUD[:2], "Production-fraud-4")


@pytest.mark.parametrize(
    ("meanwhile", "seconds", "told"),
    [
        (lambda _: None, 60.0, [FRAUD[:2], FRAUD]),
        (starting, 0.0, [FRAUD[:2], FRAUD]),
        (replaced, 60.0, [FRAUD[:2]]),
    ],
    ids=["they run", "they start for too long", "somebody else told serve"],
)
def test_the_rest_comes_back_once_the_first_run_unless_somebody_else_says_what_should(
    serve: FakeServe,
    api: applications.ServeApi,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[FakeServe], None],
    seconds: float,
    told: list[list[str]],
) -> None:
    monkeypatch.setattr(applications, "FIRST_SECONDS", seconds)
    keep(file, *FRAUD)
    kept = KeptApplications(file, api)
    kept.restore()
    meanwhile(serve)
    kept.restore_rest()
    assert serve.told == told


def test_what_runs_is_kept_and_outlives_a_serve_without_controller(
    serve: FakeServe, api: applications.ServeApi, file: Path
) -> None:
    kept = KeptApplications(file, api)
    kept.keep_what_runs()
    assert not file.exists()
    serve.details = details(*reversed(FRAUD))
    kept.keep_what_runs()
    serve.details = {"controller_info": {}, "applications": {}}
    kept.keep_what_runs()
    assert names(json.loads(file.read_text())) == FRAUD
    KeptApplications(file, api).restore()
    assert serve.told == [FRAUD[:2]]
