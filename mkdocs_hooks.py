"""Show on the site of the documents what a repository's host shows: the same files, links and blocks.

MkDocs knows the files of docs/ only, and only code blocks with one word behind the fence. So these hooks

- add the pages that stand elsewhere in the repository, and list the decision records in the navigation;
- lead each link to the page that its file has become. A link to a file without a page, such as LICENSE, becomes plain
  text; a link to nothing stays as it is, so that MkDocs warns of it, and a warning ends the build;
- leave out the notes for the test suite behind a fence (`sh not run: why`).

Files that a document names without a link, such as `hotswap/domain/policy.py`, are checked by
tests/unit/project/test_documents.py.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
DOCS = ROOT / "docs"

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CHANGELOG.md": "changelog.md",
    "tests/README.md": "suite.md",
}
"""The pages whose files stand outside of docs/, by their path in the repository."""

DECISIONS = {"Decisions": "decisions/"}
"""The place in the navigation that the decision records take."""

_FENCED = re.compile(r"^```(\w*)[^\n]*(\n.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(^```.*?^```[ \t]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: "MkDocsConfig") -> None:
    """List the decision records in the navigation."""
    config.nav = [_decisions() if entry == DECISIONS else entry for entry in config.nav]


def on_files(files: "Files", *, config: "MkDocsConfig") -> None:
    """Add the pages whose files stand outside of docs/."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, *, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Return the text of a page as MkDocs has to read it."""
    sources = {shown: path for path, shown in PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return plain_fences(linked(markdown, source))


def plain_fences(markdown: str) -> str:
    """Return the text with nothing but the language behind the fences of its blocks."""
    return _FENCED.sub(lambda found: f"```{found[1]}{found[2]}```", markdown)


def linked(markdown: str, source: str) -> str:
    """Return the text of a file, by its path in the repository, with its links as the site has them."""
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(lambda found: _link(found, source), part) for part in parts[::2]]
    return "".join(parts)


def _link(found: re.Match[str], source: str) -> str:
    text, target, anchor = found[1], found[2], found[3] or ""
    path = os.path.normpath(Path(source).parent / target)
    if ":" in target or not (ROOT / path).exists():
        return found[0]
    page, here = _page(path), _page(source)
    if page is None or here is None:
        return text
    return f"[{text}]({os.path.relpath(page, Path(here).parent)}{anchor})"


def _page(path: str) -> str | None:
    """Return the site's page of a file, or of a folder's README."""
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    if path in PAGES:
        return PAGES[path]
    inside = path.startswith("docs/") and path.endswith(".md") and (ROOT / path).exists()
    return path.removeprefix("docs/") if inside else None


def _decisions() -> dict[str, Any]:
    records = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "decisions").glob("[0-9]*.md"))
    return {"Decisions": ["decisions/README.md", *records]}
