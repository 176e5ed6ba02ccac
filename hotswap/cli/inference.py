"""`hotswap infer` and `hotswap inference`: one prediction or a batch of them, now or later."""

import math
import time
from datetime import timedelta
from typing import Annotated, Any

import typer

from hotswap.cli.console import connect, facts, out, show_json, show_table, table
from hotswap.cli.options import AsJson, check_timeout, duration, json_value
from hotswap.cli.outcome import Exit
from hotswap.client import HotSwap
from hotswap.domain.vocabulary import Environment, InferenceStatus
from hotswap.schemas.responses import AsyncInferenceView, BatchPredictionView, PredictionView

INTERVAL_SECONDS = 0.5

AnswerWaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for the answer; the exit code is 0 if there is a prediction.")
]
AnswerTimeoutOption = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="DURATION", help="Stop waiting after this time (PT5M, or seconds)."),
]


def infer(
    model: Annotated[str, typer.Argument(help="The model's name.", show_default=False)],
    features: Annotated[
        str,
        typer.Argument(help="The features as JSON, in the form that the model takes, or @FILE.", show_default=False),
    ],
    *,
    batch: Annotated[bool, typer.Option("--batch", help="Read FEATURES as a list of instances.")] = False,
    environment: Annotated[
        Environment, typer.Option(help="The environment in which it serves.")
    ] = Environment.PRODUCTION,
    version: Annotated[str | None, typer.Option(help="The version to ask. Default: chosen by weight.")] = None,
    entity: Annotated[
        str | None, typer.Option(help="The user or account of the request; it keeps its version during a rollout.")
    ] = None,
    tester: Annotated[
        bool, typer.Option("--tester", help="Ask the candidate, whatever its share of the traffic is.")
    ] = False,
    later: Annotated[
        bool,
        typer.Option("--async", help="Print a requestId instead of waiting; `hotswap inference` shows the answer."),
    ] = False,
    wait: AnswerWaitOption = False,
    timeout: AnswerTimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model for a prediction, or for a batch of them."""
    check_timeout(timeout, wait=wait)
    if wait and not later:
        raise typer.BadParameter("--wait needs --async: without it the command waits anyway")
    value = json_value(features, name="FEATURES")
    if batch and not isinstance(value, list):
        raise typer.BadParameter("FEATURES: must be a JSON list of instances with --batch")
    leading: dict[str, Any] = {
        "environment": environment.value,
        "version": version,
        "entity": entity,
        "tester": tester,
    }
    with connect() as hotswap:
        if not later:
            asked = hotswap.inference.infer_batch if batch else hotswap.inference.infer
            _show_answer(asked(model, value, **leading), as_json=as_json)
            return
        accepted = hotswap.inference.infer_later(model, **{"instances" if batch else "features": value}, **leading)
        if not wait:
            show_json(accepted) if as_json else out.print(accepted.request_id, markup=False)
            return
        _end(hotswap, accepted, timeout=timeout, as_json=as_json)


def inference(
    request: Annotated[
        str, typer.Argument(help="The requestId that `hotswap infer --async` printed.", show_default=False)
    ],
    *,
    wait: AnswerWaitOption = False,
    timeout: AnswerTimeoutOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of a request of `hotswap infer --async`, and its answer."""
    check_timeout(timeout, wait=wait)
    with connect() as hotswap:
        seen = hotswap.inference.status(request)
        if wait:
            _end(hotswap, seen, timeout=timeout, as_json=as_json)
        else:
            _show(seen, as_json=as_json)


def _end(hotswap: HotSwap, seen: AsyncInferenceView, *, timeout: timedelta | None, as_json: bool) -> None:
    """Wait for the answer, show it, and exit with the code for how it ended."""
    until = math.inf if timeout is None else time.monotonic() + timeout.total_seconds()
    while not seen.is_over and time.monotonic() < until:
        time.sleep(INTERVAL_SECONDS)
        seen = hotswap.inference.status(seen.request_id)
    _show(seen, as_json=as_json)
    if not seen.is_over:
        raise typer.Exit(Exit.TIMED_OUT)
    if seen.status is not InferenceStatus.COMPLETED:
        raise typer.Exit(Exit.FAILED)


def _show(seen: AsyncInferenceView, *, as_json: bool) -> None:
    if as_json:
        show_json(seen)
        return
    show_table(
        facts(
            ("request", seen.request_id),
            ("model", seen.model_name),
            ("status", seen.status),
            ("accepted", f"{seen.accepted_at:%Y-%m-%d %H:%M:%S %Z}"),
            ("answer by", None if seen.is_over else f"{seen.deadline_at:%Y-%m-%d %H:%M:%S %Z}"),
            ("error", seen.error and f"{seen.error.code}: {seen.error.message}"),
        )
    )
    if seen.result is not None:
        out.print()
        _show_answer(seen.result, as_json=False)


def _show_answer(answer: PredictionView | BatchPredictionView, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    if isinstance(answer, BatchPredictionView):
        rows = [(at, each["prediction"], each["confidence"]) for at, each in enumerate(answer.predictions)]
        show_table(table("", "PREDICTION", "CONFIDENCE", rows=rows, title=f"version {answer.version}"))
        return
    shown = facts(("version", answer.version), ("prediction", answer.prediction), ("confidence", answer.confidence))
    show_table(shown)
