"""What the demo makes of its clients' answers: nobody's failure is lost, and none is held against another."""

from hotswap.demo import account
from hotswap.demo.history import WeightChange
from hotswap.demo.traffic import DemoAnswer

GOOD = DemoAnswer(10.0, 10.1, 200, "2.0.0")
BY_STABLE = DemoAnswer(10.0, 10.1, 200, "1.0.0")
RESCUED = DemoAnswer(11.0, 11.1, 200, "2.0.0", fallback_from="3.0.0")
FELT = DemoAnswer(12.0, 12.1, 500, "3.0.0")
BOTH_FAILED = DemoAnswer(13.0, 13.1, 500, "2.0.0", fallback_from="3.0.0")
MISSING = DemoAnswer(14.0, 14.1, 0, None)


def test_a_versions_errors_are_what_it_failed_whoever_answered_then() -> None:
    answers = [GOOD, RESCUED, FELT, BOTH_FAILED, MISSING]
    assert account.errors_of(answers, "3.0.0") == [RESCUED, FELT, BOTH_FAILED]
    assert account.errors_of(answers, "2.0.0") == [BOTH_FAILED]


def test_a_failure_is_every_answer_but_a_good_one_and_what_the_broken_version_is_marked_to_have_answered() -> None:
    assert account.failures([GOOD, RESCUED, FELT, BOTH_FAILED, MISSING], broken="3.0.0") == [BOTH_FAILED, MISSING]


def test_the_way_back_is_timed_from_the_first_error_though_no_client_felt_it() -> None:
    changes = [
        WeightChange("set_weight", 1_000, 9.0, 9.5, "worker"),
        WeightChange("withdraw_candidate", 0, 12.5, 13.0, "worker"),
    ]
    assert account.rollback_seconds([GOOD, RESCUED, FELT], changes, broken="3.0.0") == 13.0 - 11.1
    assert account.rollback_seconds([GOOD], changes, broken="3.0.0") is None


def test_a_share_is_what_was_given_to_the_candidate_also_where_it_failed() -> None:
    changes = [WeightChange("set_weight", 5_000, 9.0, 9.5, "worker")]
    (split,) = account.splits([BY_STABLE, RESCUED, FELT, GOOD], changes, candidate="3.0.0", end=20.0)
    assert (split.requests, split.candidate) == (4, 2)


def test_the_longest_silence_is_between_two_answers_or_before_the_first_or_after_the_last() -> None:
    answers = [MISSING, GOOD]
    assert account.longest_silence(answers, begun=10.0, ended=15.0) == 14.1 - 10.1
    assert account.longest_silence(answers, begun=4.0, ended=15.0) == 10.1 - 4.0
    assert account.longest_silence([], begun=4.0, ended=15.0) == 11.0
