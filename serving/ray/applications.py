"""A file beside Ray's state of the applications that Ray Serve runs: a head that starts anew brings them back.

Invariant: the file says what a living Serve controller said that it had been told to run. Serve answers "nothing" as
well while it can't ask its controller, and while it has none yet: such an answer is not kept. The file may be
`KEEP_SECONDS` old. The writer of what it misses finds that out and writes it again (`activities/replicas.py`): this
decides only what comes back first, and not what should run.
"""

import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from hotswap.storage.files import write_json

log = logging.getLogger(__name__)

PATH = "/api/serve/applications/"
KEEP_SECONDS = 2.0
ASK_AGAIN_SECONDS = 0.05
REQUEST_SECONDS = 30.0
"""The first PUT starts Serve's controller."""
FIRST_OF_A_MODEL = 2
"""Stable and candidate, or the active version and the one before it. Each replica takes a second of a processor to
start and its application another, so versions that are only kept warm wait until these answer."""
FIRST_SECONDS = 30.0
UNANSWERED = (OSError, HTTPException, ValueError)

Configuration = dict[str, Any]
"""The body of Serve's PUT; its applications are the newest first."""


class Refused(Exception):
    """Serve won't run this configuration, however often it is asked; the message is its own."""


@dataclass(frozen=True, slots=True)
class ServeApi:
    """The REST API of the head beside us. Whatever is asked raises one of UNANSWERED while it doesn't answer."""

    host: str
    port: int
    token: str

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("GET", None))
        return found

    def put(self, wanted: Configuration) -> None:
        """Send the configuration. Raises Refused."""
        self._ask("PUT", json.dumps(wanted).encode())

    def _ask(self, method: str, body: bytes | None) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, PATH, body, headers)
            answer = connection.getresponse()
            said = answer.read()
        if answer.status == HTTPStatus.BAD_REQUEST:
            raise Refused(said.decode(errors="replace")[:1000])
        if answer.status != HTTPStatus.OK:
            raise HTTPException(f"{method} {PATH} answered {answer.status}")
        return said


def serve_api(options: Sequence[str], environment: Mapping[str, str]) -> ServeApi:
    """Return the address of Serve's API, by the options of `ray start` and Ray's own variables."""
    told = dict(option.removeprefix("--").split("=", 1) for option in options if "=" in option)
    token = environment.get("RAY_AUTH_TOKEN") or Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text().strip()
    return ServeApi(told["dashboard-host"], int(told["dashboard-port"]), token)


class KeptApplications:
    """One head's: `restore`, then `restore_rest`, then `keep`."""

    def __init__(self, file: Path, serve: ServeApi) -> None:
        self._file = file
        self._serve = serve
        self._kept = self._read()

    def restore(self) -> None:
        """Return when Serve was told to run what answers most requests of what its last controller ran.

        Called before Serve can be asked at all, so that whoever writes what should run by now comes after it.
        """
        wanted = self._kept and first_of(self._kept)
        while wanted and wanted["applications"]:
            try:
                self._serve.put(wanted)
            except Refused as refused:
                log.error("serve refuses what it ran before, so nothing was brought back: %s", refused)
                return
            except UNANSWERED:
                time.sleep(ASK_AGAIN_SECONDS)
            else:
                log.info("brought back", extra={"applications": names(wanted)})
                return

    def restore_rest(self) -> None:
        """Restore the rest once the first ones run, unless somebody else has configured Serve by then."""
        if self._kept is None or names(self._kept) == (first := names(first_of(self._kept))):
            return
        deadline = time.monotonic() + FIRST_SECONDS
        while True:
            time.sleep(KEEP_SECONDS)
            with contextlib.suppress(*UNANSWERED, Refused):
                details = self._serve.get()
                told = configuration(details)
                if told is not None and sorted(names(told)) != sorted(first):
                    return
                starts = "DEPLOYING" in {each["status"] for each in details["applications"].values()}
                if told is not None and (not starts or time.monotonic() > deadline):
                    self._serve.put(self._kept)
                    log.info("brought back", extra={"applications": names(self._kept)})
                    return

    def keep(self) -> None:
        """Save what Serve runs, again and again, as long as this process lives."""
        while True:
            time.sleep(KEEP_SECONDS)
            # Whoever supervises us asks Serve the same, and tells when it falls silent.
            with contextlib.suppress(*UNANSWERED):
                self.keep_what_runs()

    def keep_what_runs(self) -> None:
        found = configuration(self._serve.get(), before=self._kept)
        if found is not None and found != self._kept:
            write_json(self._file, found)
            self._kept = found

    def _read(self) -> Configuration | None:
        try:
            found: Configuration = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None
        return found


def configuration(details: dict[str, Any], *, before: Configuration | None = None) -> Configuration | None:
    """Return what to PUT for Serve to run what these details say; None when no controller has written them.

    Applications that were there `before` keep their order, and new ones come in front of them.
    """
    if not (details.get("controller_info") or {}).get("actor_id"):
        return None
    applications = [
        application["deployed_app_config"]
        for application in (details.get("applications") or {}).values()
        if application.get("deployed_app_config") and application["status"] != "DELETING"
    ]
    age = {application["name"]: -position for position, application in enumerate(applications, start=1)}
    age |= {name: position for position, name in enumerate(names(before))} if before else {}
    return {
        "proxy_location": details["proxy_location"],
        "http_options": details["http_options"],
        "applications": sorted(applications, key=lambda each: age[each["name"]]),
    }


def first_of(kept: Configuration) -> Configuration:
    """Return the newest applications of each model in each environment."""
    seen: Counter[str] = Counter()
    first = []
    for application in kept["applications"]:
        model = application["name"].rpartition("-")[0]  # as `hotswap.domain.application` names them
        seen[model] += 1
        if seen[model] <= FIRST_OF_A_MODEL:
            first.append(application)
    return {**kept, "applications": first}


def names(of: Configuration) -> list[str]:
    return [application["name"] for application in of["applications"]]
