"""When an active version is said to predict worse than before: on literal outcomes, and never by chance."""

import random
import time

import pytest

from hotswap.analysis.degradation import Bucket, Degradation, degradation, has_recovered
from hotswap.analysis.quality import OutcomeTally
from hotswap.domain.monitoring import MonitoringPolicy

POLICY = MonitoringPolicy(accuracy_drop=0.05, samples=50)
MINUTE = 60.0


def labels(number: int, right: int) -> OutcomeTally:
    return OutcomeTally(labels=number, correct=right)


def numbers(errors: list[float]) -> OutcomeTally:
    return OutcomeTally(numbers=len(errors), absolute=sum(errors), squared=sum(error**2 for error in errors))


def history(*tallies: OutcomeTally) -> list[Bucket]:
    """A minute each."""
    return [Bucket(at * MINUTE, tally) for at, tally in enumerate(tallies)]


def found(
    past: list[Bucket], predecessor: tuple[str, OutcomeTally] | None = None, policy: MonitoringPolicy = POLICY
) -> Degradation | None:
    return degradation(past, begins=[bucket.begin for bucket in past], predecessor=predecessor, policy=policy)


def test_a_drop_is_found_with_when_it_began() -> None:
    seen = found(history(*[labels(100, 97)] * 10, labels(100, 60), labels(100, 58)))
    assert seen is not None
    assert (seen.since, seen.samples, seen.is_error) == (10 * MINUTE, 200, False)
    assert (seen.recent, seen.before) == pytest.approx((0.59, 0.97))
    assert seen.limit == pytest.approx(0.95 * seen.before)
    assert seen.message == "accuracy 59.0% over 200 outcomes, 97.0% before"


@pytest.mark.parametrize(
    "tallies",
    [
        [],
        [labels(100, 10)],
        [*[labels(100, 97)] * 10, labels(100, 96)],
        [*[labels(1_000_000, 970_000)] * 2, labels(1_000_000, 950_000)],  # for certain, and within the threshold
        [labels(1_000, 970), labels(49, 0)],  # fewer than its samples
        [labels(49, 49), labels(100, 0)],
        [labels(50, 50), labels(50, 40)],  # beyond the threshold, and may be chance
        [*[labels(100, 60)] * 10, labels(100, 97)],  # better
    ],
)
def test_what_is_no_degradation(tallies: list[OutcomeTally]) -> None:
    assert found(history(*tallies)) is None


def test_a_version_that_was_never_good_is_measured_by_the_one_before_it() -> None:
    bad = history(*[labels(100, 60)] * 3)
    assert found(bad) is None
    seen = found(bad, ("version 1.0.0", labels(10_000, 9_700)))
    assert seen is not None
    assert (seen.since, seen.samples) == (0, 300)
    assert seen.message == "accuracy 60.0% over 300 outcomes, 97.0% of version 1.0.0 before it"


def test_numbers_are_judged_by_their_mean_absolute_error() -> None:
    draw = random.Random(2)
    before = [numbers([draw.expovariate(1) for _ in range(200)]) for _ in range(10)]
    assert found(history(*before, numbers([draw.expovariate(1) for _ in range(200)]))) is None
    seen = found(history(*before, numbers([draw.expovariate(1 / 3) for _ in range(200)])))
    assert seen is not None
    assert seen.is_error
    assert (seen.recent, seen.before) == pytest.approx((3, 1), abs=0.4)
    assert seen.limit == pytest.approx(1.05 * seen.before)


@pytest.mark.parametrize(
    ("lately", "is_over"),
    [(labels(100, 97), True), (labels(100, 92), False), (labels(49, 49), False), (OutcomeTally(), False)],
)
def test_it_is_over_once_it_is_within_its_limit_again(lately: OutcomeTally, is_over: bool) -> None:
    assert has_recovered(lately, limit=0.93, is_error=False, samples=50) is is_over


def test_errors_are_over_once_they_are_small_again() -> None:
    assert has_recovered(numbers([1.0] * 50), limit=1.05, is_error=True, samples=50)
    assert not has_recovered(numbers([1.1] * 50), limit=1.05, is_error=True, samples=50)


@pytest.mark.slow
def test_nothing_is_found_where_nothing_has_changed() -> None:
    draw = random.Random(11)
    for _ in range(10):
        past: list[Bucket] = []
        for minute in range(120):
            number = draw.randrange(2, 30)
            past.append(Bucket(minute * MINUTE, labels(number, sum(draw.random() < 0.9 for _ in range(number)))))
            assert found(past[-60:]) is None


def test_a_look_at_a_month_takes_no_time() -> None:
    month = [Bucket(hour * 3_600.0, labels(10_000, 9_000)) for hour in range(30 * 24)]
    begins = [bucket.begin for bucket in month[-84:]]
    begun = time.process_time()
    degradation(month, begins=begins, predecessor=("version 1.0.0", labels(10_000, 9_000)), policy=POLICY)
    assert time.process_time() - begun < 1
