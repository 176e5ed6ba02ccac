"""The documents as a site (`make docs`): each page can be found, and shows what the file in the repository shows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import mkdocs_hooks
from tests.fixtures.documents import ROOT, documents

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def listed(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, dict):
            (inside,) = entry.values()
            yield from listed(inside)
        else:
            yield entry


class Config:
    """The configuration as MkDocs gives it to a hook."""

    def __init__(self) -> None:
        self.nav = list(CONFIG["nav"])


def test_every_document_is_in_the_navigation_once() -> None:
    config: Any = Config()
    mkdocs_hooks.on_config(config)
    pages = list(listed(config.nav))
    files = {path.relative_to(ROOT).as_posix() for path in documents()} | mkdocs_hooks.PAGES.keys()
    assert sorted(pages) == sorted(mkdocs_hooks.PAGES.get(path, path.removeprefix("docs/")) for path in files)


def test_a_warning_ends_the_build() -> None:
    assert CONFIG["strict"] is True
    assert set(CONFIG["validation"].values()) == {"warn"}


@pytest.mark.parametrize(
    ("source", "text", "shown"),
    [
        ("README.md", "[it](docs/security.md#keys)", "[it](security.md#keys)"),
        ("README.md", "[it](SECURITY.md)", "[it](reporting.md)"),
        ("README.md", "[why](docs/decisions/)", "[why](decisions/README.md)"),
        (
            "tests/README.md",
            "[29](../docs/decisions/0029-what-the-suite-costs.md)",
            "[29](decisions/0029-what-the-suite-costs.md)",
        ),
        ("docs/decisions/README.md", "[us](../../CONTRIBUTING.md)", "[us](../contributing.md)"),
        ("docs/api.md", "[keys](security.md#keys)", "[keys](security.md#keys)"),
        ("docs/api.md", "[here](#pages)", "[here](#pages)"),
        ("docs/api.md", "[it](https://example.com/README.md)", "[it](https://example.com/README.md)"),
        ("README.md", "[Apache-2.0](LICENSE)", "Apache-2.0"),
        ("README.md", "[lost](docs/nothing.md)", "[lost](docs/nothing.md)"),
        ("README.md", "`[it](SECURITY.md)`", "`[it](SECURITY.md)`"),
        ("README.md", "```sh\n[it](SECURITY.md)\n```", "```sh\n[it](SECURITY.md)\n```"),
    ],
)
def test_a_link_leads_to_the_page_of_its_file(source: str, text: str, shown: str) -> None:
    assert mkdocs_hooks.linked(text, source) == shown


def test_a_fence_keeps_its_language_only() -> None:
    text = "```sh not run: why\nls\n```\n\nand\n\n```\n```\n\n```json replica\n{}\n```\n"
    assert mkdocs_hooks.plain_fences(text) == "```sh\nls\n```\n\nand\n\n```\n```\n\n```json\n{}\n```\n"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_line_of_a_document_outlives_the_fences(document: Path) -> None:
    text = document.read_text()
    assert mkdocs_hooks.plain_fences(text).splitlines() == [
        re.sub(r"^(```\w*).*", r"\1", line) for line in text.splitlines()
    ]
