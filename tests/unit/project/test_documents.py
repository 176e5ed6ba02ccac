"""Every command, option, setting and file that a document names exists; tests/e2e runs what is to be run."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import settings_table
from tests.fixtures.cli import COMMAND
from tests.fixtures.documents import ROOT, commands, documents, inline_code, shell_blocks
from tests.fixtures.generated import GENERATORS
from tests.fixtures.sources import PRODUCT, sources

each_document = pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))


@each_document
def test_no_shell_block_is_left_out_without_a_reason(document: Path) -> None:
    for block in shell_blocks(document):
        assert block.is_run or block.is_excused, f"{block.document}:{block.line} says {block.note!r}"


@each_document
def test_every_command_and_option_exists(document: Path) -> None:
    for command in commands(document):
        words = [word for word in shlex.split(command, posix=False)[1:] if word not in {"...", "…"}]
        known: Any = COMMAND
        while hasattr(known, "commands") and words and not words[0].startswith("-"):
            found = known.commands.get(words[0])
            assert found is not None, f"{document.name} mentions `{command}`, and there is no {words[0]}"
            known, words = found, words[1:]
        options = {name for parameter in known.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options |= {"--help", "-h"}
        for word in words:
            option = word.partition("=")[0]
            assert not option.startswith("-") or option in options, f"{document.name} mentions `{command}`"


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), f"{document.name}: {target}"


@each_document
def test_every_file_that_is_named_exists(document: Path) -> None:
    rooms = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    for code in inline_code(document):
        if re.fullmatch(rf"({rooms})/[\w/.-]*", code):
            assert (ROOT / code).exists(), f"{document.name} names {code}"


@each_document
def test_every_test_that_is_named_exists(document: Path) -> None:
    for code in inline_code(document):
        path, parted, name = code.partition("::")
        if parted and path.startswith("tests/"):
            assert f"def {name}(" in (ROOT / path).read_text(), f"{document.name} names {code}"


@each_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+(?: [a-z0-9-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    code = "\n".join([*inline_code(document), *(block.text for block in shell_blocks(document))])
    for named in re.findall(r"^make ([a-z0-9-]+)", code, re.MULTILINE):
        assert named in known, f"{document.name} names make {named}"


@each_document
def test_every_setting_that_is_named_exists(document: Path) -> None:
    known = {variable for variable, _ in settings_table.variables()}
    for named in re.findall(r"HOTSWAP_[A-Z]+__[A-Z_]+", document.read_text()):
        assert named in known, f"{document.name} names {named}"


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_what_is_generated_is_what_the_code_says(name: str) -> None:
    text = GENERATORS[name].DOCUMENT.read_text()
    assert text == GENERATORS[name].replaced(text), "run `make docs-generate`"


def test_every_setting_has_a_meaning_and_a_reader() -> None:
    writers = {"bootstrap", "settings", "stack"}
    source = "\n".join(path.read_text() for path in sources(*PRODUCT) if not writers & {*path.parts})
    for variable, field in settings_table.variables():
        assert field.description, f"{variable} says nothing of itself"
        is_read = f".{variable.partition('__')[2].lower()}" in source
        assert is_read or "nothing reads it yet" in field.description, f"nothing reads {variable}"


def test_the_readme_leads_to_every_document() -> None:
    readme = (ROOT / "README.md").read_text()
    for document in documents()[1:]:
        path = str(document.relative_to(ROOT))
        assert path in readme or f"{Path(path).parent}/)" in readme, f"README doesn't lead to {path}"
