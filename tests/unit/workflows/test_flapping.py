"""A stable whose replicas come and go can't fill the history of the run that goes back."""

from datetime import timedelta

from workflows.activity_options import ATTEMPT
from workflows.deployment.rollback import QUICK_ROUNDS, _pause_seconds

MOST_EVENTS, EVENTS_A_ROUND = 51_200, 12


def test_rounds_are_quick_at_first_and_then_ever_slower() -> None:
    pauses = [_pause_seconds(number) for number in range(1, 100)]
    assert pauses[:QUICK_ROUNDS] == [0.0] * QUICK_ROUNDS
    assert pauses == sorted(pauses)


def test_the_rounds_that_a_history_has_room_for_take_months() -> None:
    rounds = (MOST_EVENTS - 10_000) // EVENTS_A_ROUND
    assert sum(_pause_seconds(number) for number in range(1, rounds)) > timedelta(days=60).total_seconds()


def test_a_pause_ends_within_one_attempt() -> None:
    assert _pause_seconds(10_000) < ATTEMPT.total_seconds() / 1.5
