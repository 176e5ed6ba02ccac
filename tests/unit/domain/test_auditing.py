"""The words of the audit log are one enum, which those who write it and those who read it use."""

import re

import pytest

from hotswap.domain.auditing import AuditAction, AuditActions
from tests.fixtures.documents import ROOT
from tests.fixtures.sources import PRODUCT, sources


@pytest.mark.parametrize("kind", AuditActions)
def test_what_an_action_goes_on_with_is_read_as_it_was_written(kind: AuditActions) -> None:
    assert kind.about(kind.of("what it is")) == "what it is"
    others = [other for other in AuditActions if other is not kind]
    assert [other.about(kind.of("x")) for other in others] == [None] * len(others)
    assert kind.about(str(kind)) is None


def test_no_word_of_the_audit_log_is_written_beside_the_enum() -> None:
    written = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in sources(*PRODUCT)
        for found in re.finditer(r"""\b(action|kind)=f?["'][^"']+["']""", path.read_text())
    ]
    assert written == []


def test_words_that_are_stored_stay() -> None:
    assert {each.name.lower().replace("_", " ") for each in AuditAction} == {str(each) for each in AuditAction}
    assert {each.name.lower() for each in AuditActions} == {str(each) for each in AuditActions}
