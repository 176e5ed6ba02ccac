"""Which of a model's versions is meant."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hotswap.domain.registry import VersionEntry, chosen
from hotswap.domain.vocabulary import VersionStatus


def numbered(version: VersionEntry, number: str, *aliases: str, **changes: Any) -> VersionEntry:
    registered = replace(version.version, version=number, version_id=f"ver-{number}", **changes)
    return VersionEntry(registered, version.ref, aliases)


@pytest.mark.parametrize(("named", "number"), [("1.0.0", "1.0.0"), ("ver-1.0.0", "1.0.0"), ("champion", "1.0.0")])
def test_a_version_is_found_by_its_number_its_id_and_its_aliases(
    version: VersionEntry, named: str, number: str
) -> None:
    found = chosen([numbered(version, "2.0.0"), numbered(version, "1.0.0", "champion", "old")], named)
    assert found is not None
    assert found.version.version == number


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"status": VersionStatus.REGISTERED}, "2.0.0"),
        ({"status": VersionStatus.DEPRECATED}, "1.0.0"),
        ({"status": VersionStatus.ARCHIVED}, "1.0.0"),
        ({"status": VersionStatus.DEPLOYED, "is_deprecated": True}, "1.0.0"),
    ],
)
def test_without_a_name_it_is_the_newest_that_is_deployable(
    version: VersionEntry, changes: Mapping[str, Any], number: str
) -> None:
    newest_first = [numbered(version, "2.0.0", **changes), numbered(version, "1.0.0")]
    found = chosen(newest_first, None)
    assert found is not None
    assert found.version.version == number
    assert chosen(newest_first, "2.0.0") is newest_first[0], "a name finds what is out of use too"


def test_what_nobody_is_called_is_not_found(version: VersionEntry) -> None:
    assert chosen([numbered(version, "1.0.0")], "champion") is None
    assert chosen([], None) is None
