"""`python -m benchmarks.analysis [--seed N]`: how soon the judges see harm, and how seldom they see it where none is.

Thousands of rollouts, each with an observation every second, are drawn at once and folded by the product's own evidence
(`hotswap/analysis/evidence.py`, `betting.py`), which take one run or many. What this finds is then judged again by
`StepJudging`, one observation at a time: in each scenario some runs must come to harm in the same second there, or to
none. So a figure is the product's, and a run of all takes minutes. Exits 1 when one falls short.
"""

import argparse
import math
import secrets
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.signal import lfilter

from benchmarks.figure import Figure, all_hold, line, table
from hotswap.analysis.betting import Betting, Floats
from hotswap.analysis.concentration import Concentration
from hotswap.analysis.evidence import log_evidence
from hotswap.analysis.judge import StepJudging
from hotswap.analysis.lumps import BOUNDS
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Moments, Observation, Reading, Source
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome

RUNS = 1_000
HOUR = 3_600
RATE = 20
"""Requests a second of each arm."""
BASE = 0.005
THRESHOLD = 0.001
ALPHA = 0.01
MOST = 0.01
"""The share of null runs that may see harm."""
AGAIN = 6
"""Runs of each scenario that `StepJudging` judges again."""
RATIO = 1.5

ERRORS = Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=THRESHOLD, samples=1)
LATENCY = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=RATIO, samples=50)
NEVER = -1

Ints = NDArray[np.int64]
console = Console(stderr=True, highlight=False)


class Disagreement(AssertionError):
    """The product's judge says something else than what was found for all runs at once."""


def first(harm: NDArray[np.bool_]) -> Ints:
    """Return the second (from 1 on) of each run's first harm, or NEVER."""
    return np.where(harm.any(axis=1), harm.argmax(axis=1) + 1, NEVER)


def detection(draw: np.random.Generator, times: float, *, bar: float) -> Figure:
    failed = _errors(draw, np.array([min(1.0, BASE * times), BASE])[:, None, None], seconds=1_200, runs=400)
    found = _errors_found(failed)
    _check_errors(failed, found)
    seconds = float(np.median(np.where(found == NEVER, np.inf, found)))
    return Figure(
        name=f"errors {times:g} times the stable's: seconds until seen",
        measured=seconds if math.isfinite(seconds) else None,
        bar=bar,
        unit="s",
        beside=f"median of {len(found)} rollouts; {RATE} requests/s an arm, base {BASE:.1%}",
    )


def false_errors(draw: np.random.Generator, *, fluctuating: bool) -> Figure:
    rate: Floats | float = BASE
    if fluctuating:
        # A base rate that wanders, and now and then stands at tenfold for some minutes: of both arms alike.
        wander = np.exp(0.7 * _wandering(draw, RUNS, HOUR))
        outage = np.repeat(draw.random((RUNS, HOUR // 120)) < 0.1, 120, axis=1)
        rate = np.minimum(BASE * wander * np.where(outage, 10, 1), 1.0)
    failed = _errors(draw, np.broadcast_to(rate, (2, RUNS, HOUR)), seconds=HOUR, runs=RUNS)
    found = _errors_found(failed)
    _check_errors(failed, found)
    kind = "a base rate that fluctuates" if fluctuating else "a steady base rate"
    return _false_alarms(f"false alarms, errors at {kind}", found)


def _errors(draw: np.random.Generator, rate: Floats, *, seconds: int, runs: int) -> Ints:
    """Draw cumulative failures of both arms: (arm, run, second)."""
    return np.cumsum(draw.binomial(RATE, np.broadcast_to(rate, (2, runs, seconds))), axis=-1)


def _wandering(draw: np.random.Generator, runs: int, seconds: int) -> Floats:
    """Draw runs of variance 1 that still are much the same after a minute."""
    memory = 0.99
    steps = draw.standard_normal((runs, seconds)) * math.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], steps, axis=1))


def _errors_found(failed: Ints, alpha: float = ALPHA) -> Ints:
    evidence = log_evidence(failed[0], failed[1], share=0.5)
    excess = (failed[0] - failed[1]) / (RATE * np.arange(1, failed.shape[-1] + 1))
    return first((evidence >= -math.log(alpha)) & (excess > THRESHOLD))


def _check_errors(failed: Ints, found: Ints) -> None:
    for run in _some(found):
        judging = _judging(ERRORS)
        for at in range(1, _until(found[run], failed.shape[-1]) + 1):
            mine, theirs = (Counts(completed=RATE * at, server_errors=int(failed[arm, run, at - 1])) for arm in (0, 1))
            judging.add(Observation(float(at), mine, theirs))
            _compare(judging, at, int(found[run]))


def false_latency(draw: np.random.Generator) -> Figure:
    """Measure on heavy tails (a Pareto's, without variance), under load that both arms feel for as long as it lasts."""
    found = _latency_runs(draw, runs=RUNS, seconds=HOUR, slower=1.0)
    return _false_alarms("false alarms, latency with heavy tails and shared autocorrelation", found)


def doubled(draw: np.random.Generator) -> Figure:
    found = _latency_runs(draw, runs=200, seconds=120, slower=2.0)
    requests = np.where(found == NEVER, np.inf, found * RATE)
    worst = float(np.quantile(requests, 0.95, method="higher"))
    return Figure(
        name="all latencies doubled: requests of an arm until seen",
        measured=worst if math.isfinite(worst) else None,
        bar=1_000,
        unit="",
        beside=f"95 of 100 rollouts; median {np.median(requests):.0f}",
    )


def _latency_runs(draw: np.random.Generator, *, runs: int, seconds: int, slower: float) -> Ints:
    """Return the first harm of each run, second by second, so that only one second of all answers is held."""
    betting = Betting(len(BOUNDS), runs=(runs,))
    histogram = np.zeros((runs, 2, len(BOUNDS) + 1))
    load = np.zeros(runs)
    found = np.full(runs, NEVER)
    kept = min(runs, AGAIN)
    recorded: list[NDArray[np.float64]] = []
    for at in range(1, seconds + 1):
        load = 0.95 * load + math.sqrt(1 - 0.95**2) * draw.standard_normal(runs)
        milliseconds = 5 * np.exp(0.8 * load)[:, None, None] * (1 + draw.pareto(1.8, (runs, 2, RATE)))
        milliseconds[:, 0] *= slower
        index = np.minimum(np.searchsorted(BOUNDS, milliseconds * 1000), len(BOUNDS) - 1)
        new = np.zeros_like(histogram)
        np.add.at(new, (np.arange(runs)[:, None, None], np.array([0, 1])[None, :, None], index), 1)
        recorded.append(new[:kept].copy())
        histogram += new
        slow = new[..., ::-1].cumsum(axis=-1)[..., ::-1]
        betting.add(slow[..., 1:], slow[..., 0])
        median = BOUNDS[np.argmax(histogram.cumsum(axis=-1) >= 0.5 * RATE * at, axis=-1)] / 1000
        limit = np.maximum(RATIO * median[:, 1], median[:, 1] + LATENCY.floor_ms)
        enough = at * RATE >= LATENCY.samples
        harm = enough & (betting.log_evidence >= -math.log(ALPHA)) & (median[:, 0] > limit)
        found = np.where((found == NEVER) & harm, at, found)
    for run in range(kept):
        _check_latency([each[run] for each in recorded], int(found[run]))
    return found


def _check_latency(recorded: Sequence[NDArray[np.float64]], found: int) -> None:
    judging = _judging(LATENCY)
    arms = [Counts(), Counts()]
    for at, new in enumerate(recorded[: _until(found, len(recorded))], start=1):
        for arm in (0, 1):
            latency = {repr(float(BOUNDS[place])): int(new[arm, place]) for place in np.flatnonzero(new[arm])}
            arms[arm] += Counts(completed=RATE, latency=latency)
        judging.add(Observation(float(at), arms[0], arms[1]))
        _compare(judging, at, found)


def false_family(draw: np.random.Generator) -> Figure:
    """Measure five kinds of errors and five means, by both kinds of evidence; each has a part of the probability."""
    found = np.full(RUNS, NEVER)
    for _ in range(5):
        failed = _errors(draw, np.array(BASE), seconds=HOUR, runs=RUNS)
        found = _earlier(found, _errors_found(failed, ALPHA / 10))
    for quick in (False, False, False, True, True):
        found = _earlier(found, _means_found(draw, ALPHA / 10, quick=quick))
    return _false_alarms("false alarms, ten metrics together", found)


def _means_found(draw: np.random.Generator, alpha: float, *, quick: bool) -> Ints:
    """Return the first harm of each run on a Beta distribution's means, where any excess is over the threshold."""
    bet = Concentration(runs=(RUNS,)) if quick else Betting(1, runs=(RUNS,))
    totals = np.zeros((RUNS, 2))
    found = np.full(RUNS, NEVER)
    for at in range(1, HOUR + 1):
        new = draw.beta(2, 5, (RUNS, 2, RATE)).sum(axis=-1)
        totals += new
        bet.add(new[..., None], np.full((RUNS, 2), float(RATE)))
        harm = (bet.log_evidence >= -math.log(alpha)) & (totals[:, 0] > totals[:, 1])
        found = np.where((found == NEVER) & harm, at, found)
    return found


def _earlier(one: Ints, other: Ints) -> Ints:
    return np.where((one == NEVER) | ((other != NEVER) & (other < one)), other, one)


def ten_metrics(_: np.random.Generator) -> Figure:
    """Measure an observation and a verdict on errors, two quantiles of latency, and seven means."""
    metrics = (
        ERRORS,
        LATENCY,
        Metric("p95", Source.LATENCY, JudgeName.QUANTILE, threshold=RATIO, quantile=0.95),
        *(Metric(f"mean{number}", Source.CONFIDENCE, JudgeName.MEAN, threshold=0.1) for number in range(7)),
    )
    judging = StepJudging(AnalysisPolicy(metrics), weight=TOTAL_WEIGHT // 2, reference=None, prior_evidence={})
    latency = {str(1000 * place): 1 for place in range(1, 101)}
    took = []
    for at in range(1, 201):
        counts = Counts(completed=100 * at, latency=dict.fromkeys(latency, at))
        moments = Moments(100 * at, 50.0 * at, 30.0 * at)
        readings = {f"mean{number}": Reading(float(at), moments, moments) for number in range(7)}
        look = Observation(float(at), counts, counts, readings)
        began = time.perf_counter()
        judging.add(look)
        judging.verdict()
        took.append((time.perf_counter() - began) * 1000)
    return Figure(
        name="ten metrics judged", measured=float(np.median(took)), bar=20, unit="ms", beside="a look and its verdict"
    )


def hundred_deployments(_: np.random.Generator) -> Figure:
    """Measure the judges' part of a hundred watches: an observation and a verdict a second, on errors and latency."""
    policy = AnalysisPolicy((ERRORS, LATENCY))
    watched = [StepJudging(policy, weight=TOTAL_WEIGHT // 2, reference=None, prior_evidence={}) for _ in range(100)]
    seconds = 10
    began = time.process_time()
    for at in range(1, seconds + 1):
        counts = Counts(completed=100 * at, latency={str(1000 * place): at for place in range(1, 101)})
        for judging in watched:
            judging.add(Observation(float(at), counts, counts))
            judging.verdict()
    cores = (time.process_time() - began) / seconds
    return Figure(
        name="100 deployments judged every second",
        measured=cores,
        bar=0.5,
        unit="cores",
        beside="processor time of the judges; reading the counts is shared by all",
    )


def _false_alarms(name: str, found: Ints) -> Figure:
    share = float((found != NEVER).mean())
    return Figure(
        name=name,
        measured=100 * share,
        bar=100 * MOST,
        unit="%",
        beside=f"{len(found)} rollouts of an hour, a look every second",
    )


def _judging(metric: Metric) -> StepJudging:
    policy = AnalysisPolicy((metric,), alpha=ALPHA)
    return StepJudging(policy, weight=TOTAL_WEIGHT // 2, reference=None, prior_evidence={})


def _some(found: Ints) -> list[int]:
    alarmed = np.flatnonzero(found != NEVER)[: AGAIN // 2]
    quiet = np.flatnonzero(found == NEVER)[: AGAIN - len(alarmed)]
    return [int(run) for run in (*alarmed, *quiet)]


def _until(found: int, seconds: int) -> int:
    return seconds if found == NEVER else found


def _compare(judging: StepJudging, at: int, found: int) -> None:
    if (judging.verdict().outcome is Outcome.HARM) != (at == found):
        raise Disagreement(f"at second {at}: {judging.verdict().message}; all runs at once say {found}")


def measure(seed: int) -> list[Figure]:
    draw = np.random.default_rng(seed)
    figures = []
    for part in (
        ten_metrics,
        hundred_deployments,
        lambda draw: detection(draw, 20, bar=12),
        lambda draw: detection(draw, 4, bar=85),
        lambda draw: detection(draw, 2, bar=380),
        doubled,
        lambda draw: false_errors(draw, fluctuating=False),
        lambda draw: false_errors(draw, fluctuating=True),
        false_latency,
        false_family,
    ):
        figures.append(part(draw))
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {figures[-1].name}")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="draw the same runs again")
    seed = parser.parse_args().seed
    if seed is None:
        seed = secrets.randbits(32)
    console.print(f"seed {seed}")
    figures = measure(seed)
    console.print(table(figures))
    sys.stdout.write(line(figures) + "\n")
    return 0 if all_hold(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
