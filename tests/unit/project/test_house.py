"""What holds for all of the code: what its comments name exists, and a call says which argument is which."""

import ast
import io
import itertools
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.domain import headers
from tests.fixtures.documents import ROOT
from tests.fixtures.sources import PRODUCT, sources

pytestmark = pytest.mark.slow  # it reads every file

ROOMS = ("activities", "api", "benchmarks", "hotswap", "serving", "tests", "workflows")
FILE = re.compile(rf"(?<![\w/.~<>{{}}-])((?:{'|'.join(ROOMS)}|docker|docs)/[\w./-]*\w\.(?:md|py|toml|yaml))")
DECISION = re.compile(r"(?<![\w/.-])(docs/decisions/\d{4})(?![\w-])")
MOST_POSITIONAL = 5


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


def test_no_process_is_called_he() -> None:
    """A process is "it", and a person is a role."""
    found = [
        f"{path.relative_to(ROOT)}:{token.start[0]}: {word[0]}"
        for path in sources(*PRODUCT)
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type in {tokenize.COMMENT, tokenize.STRING}
        for word in re.finditer(r"\b(?:he|him|his|himself)\b", token.string)
    ]
    assert found == []


def test_every_file_that_relies_on_a_contract_is_there() -> None:
    named = {
        str(argument.value)
        for path in sources("tests/contracts")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("relied_on_by")
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    assert named
    assert [file for file in sorted(named) if not (ROOT / file).is_file()] == []


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


def test_only_persistence_knows_the_errors_of_its_library() -> None:
    """Everyone else gets Unavailable (`hotswap/persistence/platform/database.py`), and catches that."""
    elsewhere = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(*PRODUCT)
        if not path.is_relative_to(ROOT / "hotswap" / "persistence")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and re.search(r"sqlalchemy\.exc\b|from sqlalchemy import .*\bexc\b", ast.unparse(node))
    ]
    assert elsewhere == []


WHY = {
    "hotswap/messages/work.py": "a key of a Temporal payload",
    "hotswap/persistence/tables/deployments.py": "the column of the audit trail",
    "hotswap/schemas/responses/audit.py": "a key of the API's JSON",
    "hotswap/schemas/responses/explanations.py": "a key of the API's JSON",
}
"""Where something is called `why`, and for what reason."""


def test_nothing_is_called_why_unless_its_key_or_column_is() -> None:
    """A text that people gave is a `reason`, and one that we made is a `message`."""
    named = {
        str(path.relative_to(ROOT))
        for path in sources(*PRODUCT)
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.arg) and node.arg == "why")
        or (isinstance(node, ast.Name) and node.id == "why")
        or (isinstance(node, ast.ExceptHandler) and node.name == "why")
    }
    assert named == WHY.keys()


SHARED_NAMES = {
    "Deployment": "the row, and the domain's record that leaves persistence in its place",
    "Deployments": "the port, and the client's resource: each is all of the deployments, seen from its own side",
    "Promote": "a person's command, and the decision that follows from it",
    "Scale": "a person's command, and the move that follows from it",
    "Versions": "the port, and the client's resource",
}
"""Public names with more than one definition, each with its reason."""


def public_types(path: Path) -> Iterator[str]:
    """Classes and type aliases of a module; type variables mean nothing outside of theirs."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
            name = ast.unparse(node.target)
        elif isinstance(node, ast.Assign) and isinstance(
            node.value, ast.Subscript | ast.BinOp | ast.Name | ast.Attribute
        ):
            name = ast.unparse(node.targets[0])
        else:
            continue
        if re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name):
            yield name


def test_a_public_type_s_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in sources(*PRODUCT):
        for name in public_types(path):
            homes[name].append(str(path.relative_to(ROOT)))
    again = {name: paths for name, paths in homes.items() if len(paths) > 1}
    assert {name: paths for name, paths in again.items() if name not in SHARED_NAMES} == {}
    assert SHARED_NAMES.keys() <= again.keys(), "an exception that is none any more"
    assert len(SHARED_NAMES) < 10


COMPUTES = {
    "activities/backtest.py": "compares answers",
    "api/authentication.py": "hashes a password",
    "api/replaying.py": "judges anew",
    "hotswap/monitoring/drift.py": "compares samples",
    "hotswap/monitoring/monitor.py": "compares outcomes",
    "hotswap/stack/supervisor.py": "cuts logs on this machine's disk",
}
"""What may use the threads that asyncio has for everybody, with what it does: it waits for no machine."""


def test_nothing_that_may_hang_takes_the_threads_that_name_resolution_needs() -> None:
    """Whatever waits for S3 has threads of its own (`hotswap/storage/calls.py`)."""
    shared = re.compile(r"asyncio\.to_thread\(|run_in_executor\(\s*None")
    found = {str(path.relative_to(ROOT)) for path in sources(*PRODUCT) if shared.search(path.read_text())}
    assert found == COMPUTES.keys()
