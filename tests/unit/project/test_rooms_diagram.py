"""The rooms import in one direction, and docs/architecture.md names each of them."""

import pytest

from tests.fixtures import rooms_diagram
from tests.fixtures.documents import ROOT

DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.slow
def test_no_arrow_leads_up_and_there_is_no_circle() -> None:
    arrows = rooms_diagram.imports()
    assert arrows["api"] >= {"hotswap.deployments", "hotswap.schemas"}
    assert rooms_diagram.upward(arrows) == []


def test_an_arrow_that_does_not_lead_down_is_found() -> None:
    arrows = {"hotswap.domain": {"api"}, "hotswap.schemas": {"hotswap.ports", "hotswap.domain"}, "api": set[str]()}
    assert rooms_diagram.upward(arrows) == ["hotswap.domain -> api", "hotswap.schemas -> hotswap.ports"]


def test_an_arrow_that_others_imply_is_left_out() -> None:
    arrows = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set[str]()}
    assert rooms_diagram.reduced(arrows) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "hotswap").iterdir() if path.is_dir()))
def test_every_room_has_its_line_in_the_tree(folder: str) -> None:
    assert folder == "__pycache__" or f"├── {folder}/" in DOCUMENT or f"└── {folder}/" in DOCUMENT
