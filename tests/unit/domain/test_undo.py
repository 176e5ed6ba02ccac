"""What a deployment writes down before each step, to undo it: the order, and what one withdrawal undoes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.undo import LetScaleByLoad, RemoveReplicas, Undo, UndoLog, WithdrawTraffic

WITHDRAWALS = st.builds(WithdrawTraffic, published=st.booleans(), promoted=st.booleans())
SCALED, STARTED = LetScaleByLoad(("candidate", "stable")), RemoveReplicas("candidate")


def pushed(*undo: Undo) -> UndoLog:
    log = UndoLog()
    for each in undo:
        log.push(each)
    return log


def test_it_is_undone_newest_first() -> None:
    log = pushed(SCALED, STARTED, WithdrawTraffic())
    assert log.newest_first() == (WithdrawTraffic(), STARTED, SCALED)
    assert log.removed == ("candidate",)
    assert log.scaled_by_load == ("candidate", "stable")


@given(st.lists(WITHDRAWALS, min_size=1))
def test_one_withdrawal_undoes_all_that_traffic_saw(withdrawals: list[WithdrawTraffic]) -> None:
    log = pushed(SCALED, STARTED, *withdrawals)
    assert log.newest_first()[1:] == (STARTED, SCALED), "traffic comes first, once"
    assert log.withdrawal == log.newest_first()[0]
    assert log.withdrawal == WithdrawTraffic(
        published=any(each.published for each in withdrawals), promoted=any(each.promoted for each in withdrawals)
    )


def test_what_is_known_better_keeps_its_place() -> None:
    log = pushed(SCALED, STARTED)
    log.replace(SCALED, by=LetScaleByLoad(("stable",)))
    assert log.newest_first() == (STARTED, LetScaleByLoad(("stable",)))


def test_what_was_undone_is_not_undone_again() -> None:
    log = pushed(WithdrawTraffic())
    log.discard(WithdrawTraffic())
    assert log.newest_first() == ()
    assert log.withdrawal is None
    with pytest.raises(ValueError, match="not in list"):
        log.discard(WithdrawTraffic())
