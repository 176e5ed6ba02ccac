"""What holds for all of the code: what its comments name exists, and a call says which argument is which."""

import ast
import io
import itertools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.domain import headers

pytestmark = pytest.mark.slow  # it reads every file

ROOT = Path(__file__).parents[2]
ROOMS = ("activities", "api", "benchmarks", "hotswap", "serving", "tests", "workflows")
PRODUCT = ("activities", "api", "hotswap", "serving", "workflows")
FILE = re.compile(rf"(?<![\w/.~<>{{}}-])((?:{'|'.join(ROOMS)}|docker|docs)/[\w./-]*\w\.(?:md|py|toml|yaml))")
DECISION = re.compile(r"(?<![\w/.-])(docs/decisions/\d{4})(?![\w-])")
MOST_POSITIONAL = 5


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from (ROOT / room).rglob("*.py")


def texts(path: Path) -> Iterator[str]:
    """The comments and docstrings of a file."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
            yield token.string


def test_every_file_that_a_comment_names_is_there() -> None:
    lost = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(*ROOMS)
        for text in texts(path)
        for name in FILE.findall(text) + [f"{start}-*.md" for start in DECISION.findall(text)]
        if not list(ROOT.glob(name))
    ]
    assert lost == []


def test_a_string_that_explains_stands_right_below_what_it_explains() -> None:
    """At the head of a module, class or function, or on the line after an assignment; elsewhere its subject is gone."""
    dangling = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources(*ROOMS)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(body := getattr(node, "body", None), list)
        for line in dangling_strings(body)
    ]
    assert dangling == []


def dangling_strings(body: list[ast.stmt]) -> Iterator[int]:
    for before, each in itertools.pairwise(body):
        is_string = isinstance(each, ast.Expr) and isinstance(getattr(each.value, "value", None), str)
        is_below = isinstance(before, ast.Assign | ast.AnnAssign) and each.lineno == (before.end_lineno or 0) + 1
        if is_string and not is_below:
            yield each.lineno


def test_headers_of_ours_are_named_in_one_module() -> None:
    named = re.compile(r"""["'](x-(?:hotswap-[a-z-]+|entity-id|request-id))["']""", re.IGNORECASE)
    elsewhere = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in sources(*PRODUCT)
        if path != Path(headers.__file__)
        for found in named.findall(path.read_text())
    ]
    assert elsewhere == []


def test_no_call_has_a_row_of_arguments_without_names() -> None:
    """Routes of the API and commands are called by their frameworks, by name."""
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources(*PRODUCT)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any("router" in ast.unparse(each) or "command" in ast.unparse(each) for each in node.decorator_list)
        and len([arg for arg in node.args.args if arg.arg not in {"cls", "self"}]) > MOST_POSITIONAL
    ]
    assert long == []
