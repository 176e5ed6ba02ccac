"""What is sent as a cursor is one that this list gave, or it is refused, whatever it is."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.paging import CursorNumber, Instant, Plain, read_cursor, write_cursor
from hotswap.domain.errors import ValidationFailed

KINDS: list[tuple[Any, ...]] = [(CursorNumber,), (Plain,), (Instant, Plain), (Instant, CursorNumber)]

instants = st.datetimes(timezones=st.just(UTC))
plain = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=255)
numbers = st.integers(0, 2**63 - 1)
keys = st.one_of(
    st.tuples(st.just((CursorNumber,)), st.tuples(numbers)),
    st.tuples(st.just((Plain,)), st.tuples(plain)),
    st.tuples(st.just((Instant, Plain)), st.tuples(instants, plain)),
    st.tuples(st.just((Instant, CursorNumber)), st.tuples(instants, numbers)),
)
nothing_special = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each, max_size=4)
)


@given(keys)
def test_a_cursor_says_where_its_list_goes_on(key: tuple[Any, tuple[Any, ...]]) -> None:
    kinds, last = key
    cursor = write_cursor("models", last)
    assert read_cursor(cursor, "models", *kinds) == last
    with pytest.raises(ValidationFailed):
        read_cursor(cursor, "deployments", *kinds)


@pytest.mark.parametrize("kinds", KINDS)
@given(sent=st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", max_size=100))
def test_any_text_is_refused(kinds: tuple[Any, ...], sent: str) -> None:
    with pytest.raises(ValidationFailed, match="cursor"):
        read_cursor(sent, "models", *kinds)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", KINDS)
@given(sent=st.lists(nothing_special, max_size=4))
def test_what_looks_like_one_is_refused_or_as_it_should_be(kinds: tuple[Any, ...], sent: list[Any]) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(["models", *sent]).encode()).rstrip(b"=").decode()
    try:
        last = read_cursor(cursor, "models", *kinds)
    except ValidationFailed:
        return
    assert len(last) == len(kinds)
    for kind, value in zip(kinds, last, strict=True):
        assert isinstance(value, {CursorNumber: int, Plain: str, Instant: datetime}[kind])
        assert "\0" not in str(value)
