"""Options that several commands share, and the parsers of their values.

Everything here raises BadParameter (exit code 2) naming the option, before anybody is asked anything.
"""

import json
import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

_ISO_8601: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def duration(text: str | timedelta) -> timedelta:
    """Read seconds (`90`), or ISO-8601 (`PT1M30S`). Typer also passes an option's default, which is a timedelta."""
    if isinstance(text, timedelta):
        return text
    try:
        seconds = float(text)
    except ValueError:
        try:
            found = _ISO_8601.validate_python(text if text.startswith("P") else "")
        except ValidationError:
            raise typer.BadParameter(f"{text!r} is neither seconds nor an ISO-8601 duration such as PT10M") from None
    else:
        if not math.isfinite(seconds) or seconds > timedelta.max.total_seconds():
            raise typer.BadParameter(f"{text!r} is no length of time")
        found = timedelta(seconds=seconds)
    if found <= timedelta(0):
        raise typer.BadParameter(f"{text!r} is no time at all")
    return found


def moment(text: str) -> datetime:
    """Read ISO-8601 with a time zone: a time must mean the same wherever it is typed."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-12-27T00:00:00Z") from None
    if found.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; write {text}Z for UTC, or {text}+01:00")
    return found


def moment_or_duration(text: str) -> datetime | timedelta:
    """Read until when something lasts, or for how long."""
    return duration(text) if text.startswith("P") else moment(text)


DeploymentArgument = Annotated[str, typer.Argument(help="The deployment's id.", show_default=False)]
ModelArgument = Annotated[str, typer.Argument(help="The model's name or id.", show_default=False)]
VersionArgument = Annotated[str, typer.Argument(help="The version's number, id or alias.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for programs.")]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Follow the deployment until it ends; the exit code says how.")
]
TimeoutOption = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        metavar="DURATION",
        help="Stop following after this time (PT30M, or seconds); the deployment goes on.",
        show_default=False,
    ),
]


def check_timeout(timeout: timedelta | None, *, wait: bool) -> None:
    """Refuse a time-out without `--wait`, since a pipeline must not make this mistake silently."""
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout needs --wait: without it the command doesn't wait for anything")


def json_value(text: str, *, name: str) -> Any:
    """Read JSON, or a file of JSON named by `@path`."""
    try:
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise typer.BadParameter(f"{name}: can't read {text[1:]}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f"{name}: is not JSON: {error}") from None


def json_object(text: str, *, name: str) -> dict[str, Any]:
    """Read a JSON object, or a file of one named by `@path`."""
    value = json_value(text, name=name)
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{name}: must be a JSON object, such as '{{\"canaryPercentage\": 10}}'")
    return value


def given(**values: Any) -> dict[str, Any]:
    """Return what was given of these; what is None wasn't."""
    return {name: value for name, value in values.items() if value is not None}


def examples(*commands: str) -> str:
    """Return the end of a command's help: each example is a paragraph, which keeps it on a line of its own."""
    return "\n\n".join(["Example:" if len(commands) == 1 else "Examples:", *commands])
