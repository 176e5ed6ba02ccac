"""Whose approval counts, where four eyes are asked for and where they are not."""

import pytest

from hotswap.domain.approval import FourEyes, objection

STRICT, TRUSTING = FourEyes(), FourEyes(count_claimed=True)


@pytest.mark.parametrize(
    ("rule", "by", "is_claimed", "why_not"),
    [
        (None, "ann", False, None),
        (None, "ann", True, None),
        (STRICT, "bob", False, None),
        (STRICT, "ann", False, "somebody else has to approve it"),
        (STRICT, "bob", True, "not through Temporal"),
        (STRICT, "ann", True, "not through Temporal"),
        (TRUSTING, "bob", True, None),
        (TRUSTING, "ann", True, "somebody else has to approve it"),
    ],
)
def test_whose_approval_counts(rule: FourEyes | None, by: str, is_claimed: bool, why_not: str | None) -> None:
    told = objection(rule, by=by, asked_for_by="ann", is_claimed=is_claimed)
    assert (told is None) == (why_not is None)
    assert why_not is None or why_not in (told or "")
