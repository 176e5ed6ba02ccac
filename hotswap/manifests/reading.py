"""Files to manifests: YAML (of which JSON is a part), several documents a file, each mistake with its file and line.

What YAML would guess at is not guessed: dates stay text, and a number where text belongs is refused. Anchors and
aliases are not taken, since a few lines of them can mean more than a machine holds, nor is a field that is said twice.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hotswap.manifests.schema import Manifest
from hotswap.schemas.fields import told

ENDINGS = (".yaml", ".yml", ".json")
MOST_MANIFEST_BYTES = 1024 * 1024


class Unreadable(Exception):
    """Mistakes in manifests, one a line: `file:line: field: why`."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class ManifestText:
    """One file's content under the name that people know it by."""

    name: str
    content: str


def files(path: Path) -> list[ManifestText]:
    """Return a file, or those files of a directory (not below it) that look like manifests, ordered by name.

    Raises:
        Unreadable: there is none, or one can't be read.
    """
    try:
        found = sorted(each for each in path.iterdir() if each.suffix in ENDINGS) if path.is_dir() else [path]
        if not found:
            raise Unreadable([f"{path}: has no file that ends in {', '.join(ENDINGS)}"])
        return [ManifestText(str(each), each.read_text(encoding="utf-8")) for each in found]
    except OSError as error:
        raise Unreadable([f"{error.filename or path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise Unreadable([f"{path}: is not UTF-8"]) from None


def read(texts: Sequence[ManifestText]) -> list[Manifest]:
    """Return all manifests of all files.

    Raises:
        Unreadable: with every mistake that could be found.
    """
    problems: list[str] = []
    found: list[Manifest] = []
    places: dict[str, str] = {}
    for text in texts:
        for place, value in _documents(text, problems):
            try:
                manifest = Manifest.model_validate(value)
            except ValidationError as error:
                problems += [f"{text.name}:{place.line(at)}: {told}" for at, told in _told(error)]
                continue
            here = f"{text.name}:{place.line(('name',))}"
            if manifest.name in places:
                problems.append(f"{here}: name: {manifest.name} is described at {places[manifest.name]} already")
            places.setdefault(manifest.name, here)
            found.append(manifest)
    if not problems and not found:
        problems.append(f"{', '.join(text.name for text in texts)}: describes nothing")
    if problems:
        raise Unreadable(problems)
    return found


class _Place:
    """The line of each field of a document in its file."""

    def __init__(self, node: yaml.Node) -> None:
        self._lines: dict[tuple[Hashable, ...], int] = {}
        self._note((), node)

    def line(self, at: tuple[Hashable, ...]) -> int:
        """Return the line of a field, or of what it is missing in."""
        while at not in self._lines:
            at = at[:-1]
        return self._lines[at]

    def _note(self, at: tuple[Hashable, ...], node: yaml.Node) -> None:
        self._lines[at] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._note((*at, key.value), value)
                self._lines[*at, key.value] = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self._note((*at, number), value)


class _Loader(yaml.SafeLoader):
    """Takes no aliases, no field twice, and no date for a date."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not taken; write it out",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            seen: set[Any] = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is said twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _documents(text: ManifestText, problems: list[str]) -> Iterator[tuple[_Place, Any]]:
    """Yield each document with its place; the first unreadable one ends its file, and is added to the problems."""
    if len(text.content.encode()) > MOST_MANIFEST_BYTES:
        problems.append(f"{text.name}: is larger than {MOST_MANIFEST_BYTES} bytes")
        return
    try:
        loader = _Loader(text.content)
        while loader.check_node():
            node = loader.get_node()
            if node is not None and node.tag != "tag:yaml.org,2002:null":  # nothing between two ---
                yield _Place(node), loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        problems.append(f"{text.name}:{at.line + 1 if at else 1}: {error.problem or error}")
    except yaml.YAMLError as error:
        problems.append(f"{text.name}: {error}".splitlines()[0])
    except RecursionError:
        problems.append(f"{text.name}: is nested too deep")


def _told(error: ValidationError) -> Iterator[tuple[tuple[Hashable, ...], str]]:
    for problem in error.errors(include_url=False):
        at = tuple(part for part in problem["loc"] if part != "[key]")
        message = told(problem)
        if problem["type"] == "extra_forbidden":
            message = "there is no such field"
        elif problem["type"] == "string_type" and isinstance(problem["input"], int | float):
            message = "must be text: write it in quotes"
        yield at, f"{'.'.join(map(str, at))}: {message}" if at else message
