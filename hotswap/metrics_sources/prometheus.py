"""PromQL as a metric: the query of each arm, asked of a Prometheus that the settings name.

`${candidate}` and the other placeholders are put in as the content of a PromQL string, so that no name can become a
part of the query. A query that a ratio or a comparison needs is asked a second time with the arms exchanged. What has
no sample is no figure, never a zero; more series than one are an error, since choosing one would be a guess.
"""

import math
import string
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec

from hotswap.domain.analysis import JudgeName, Metric, Reading, Subject
from hotswap.domain.errors import Unavailable
from hotswap.process.bounded_http import asked, client

POINTS = 30
"""The points of a series over the bake, as the Kayenta-compatible judge compares them."""
LEAST_STEP_SECONDS = 1.0

Sample = tuple[float, str]


class _Series(msgspec.Struct):
    value: Sample | None = None
    values: list[Sample] = []


class _Vector(msgspec.Struct, tag_field="resultType", tag="vector"):
    result: list[_Series]


class _Matrix(msgspec.Struct, tag_field="resultType", tag="matrix"):
    result: list[_Series]


class _Scalar(msgspec.Struct, tag_field="resultType", tag="scalar"):
    result: Sample


class _Answer(msgspec.Struct):
    status: str
    data: _Vector | _Matrix | _Scalar | None = None
    error: str = ""


class PrometheusMeter:
    """`url` None: there is none, and every reading says so. The token is read anew each time, since it may change."""

    def __init__(
        self,
        url: str | None,
        token_file: Path | None = None,
        *,
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.rstrip("/") if url is not None else None
        self._token_file = token_file
        self._http = http or client()
        self._clock = clock

    async def aclose(self) -> None:
        await self._http.aclose()

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        now = self._clock()
        exchanged = replace(
            subject,
            candidate=subject.stable,
            stable=subject.candidate,
            candidate_version=subject.stable_version,
            stable_version=subject.candidate_version,
        )
        if metric.judge is JudgeName.KAYENTA:
            candidate = await self._points(metric.query, subject, now=now)
            return Reading(
                now, candidate_points=candidate, stable_points=await self._points(metric.query, exchanged, now=now)
            )
        value = await self._value(metric.query, subject, now=now)
        stable = await self._value(metric.query, exchanged, now=now) if metric.relative else None
        return Reading(now, candidate_value=value, stable_value=stable)

    async def _value(self, query: str, subject: Subject, *, now: float) -> float | None:
        data = await self._asked("query", query=written(query, subject, now=now), time=f"{now:.3f}")
        match data:
            case _Scalar(sample):
                return _number(sample)
            case _Vector(series):
                one = _only(series)
                return None if one is None or one.value is None else _number(one.value)
            case _:
                raise Unavailable("the query answers a range; it must answer one value for each arm")

    async def _points(self, query: str, subject: Subject, *, now: float) -> tuple[float | None, ...]:
        """Return one point for each step since the bake began, None where there is none."""
        step = max(LEAST_STEP_SECONDS, (now - subject.since) / POINTS)
        data = await self._asked(
            "query_range",
            query=written(query, subject, now=now),
            start=f"{subject.since:.3f}",
            end=f"{now:.3f}",
            step=f"{step:.3f}",
        )
        if not isinstance(data, _Matrix):
            raise Unavailable("the query answers no range")
        one = _only(data.result)
        seen = {round((at - subject.since) / step): _number((at, text)) for at, text in one.values} if one else {}
        return tuple(seen.get(number) for number in range(int((now - subject.since) / step) + 1))

    async def _asked(self, what: str, **form: str) -> _Vector | _Matrix | _Scalar | None:
        if self._url is None:
            raise Unavailable("no Prometheus is configured; HOTSWAP_ANALYSIS__PROMETHEUS_URL names one")
        request = self._http.build_request("POST", f"{self._url}/api/v1/{what}", data=form, headers=self._headers())
        status, body = await asked(self._http, request, who="Prometheus")
        try:
            answer = msgspec.convert(body, _Answer, strict=False)
        except msgspec.ValidationError:
            raise Unavailable(f"Prometheus answers {status} in a form that is not its own") from None
        if status != httpx.codes.OK or answer.status != "success":
            raise Unavailable(f"Prometheus answers {status}: {answer.error[:300]}")
        return answer.data

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except OSError as error:
            raise Unavailable(f"the token for Prometheus can't be read: {error.strerror}") from None


def written(query: str, subject: Subject, *, now: float) -> str:
    """Return the query with its placeholders filled; `${window}` is the time since the step's weight was verified."""
    values = {
        "candidate": subject.candidate,
        "stable": subject.stable,
        "model": subject.model,
        "environment": subject.environment,
        "candidateVersion": subject.candidate_version,
        "stableVersion": subject.stable_version,
    }
    window = f"{max(1, math.ceil(now - subject.since))}s"
    return string.Template(query).substitute({name: escaped(value) for name, value in values.items()}, window=window)


def escaped(text: str) -> str:
    """Escape text for a PromQL string, in either kind of quotes."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'").replace("\n", "\\n")
    return quoted.replace("`", "\\x60")


def _only(series: list[_Series]) -> _Series | None:
    if len(series) > 1:
        raise Unavailable(f"the query answers {len(series)} series; sum or average them to one")
    return series[0] if series else None


def _number(sample: Sample) -> float | None:
    """Return the figure; None for a value that is none, such as a ratio of nothing to nothing."""
    value = float(sample[1])
    return value if math.isfinite(value) else None
