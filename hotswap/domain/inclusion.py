"""Check that every value of one JSON Schema (the part) is a value of another (the whole); gaps in words. Pure.

The comparison is safe rather than sharp: what it can't compare counts as a gap, so whatever the part accepts and the
whole refuses is always reported. The part is split into alternatives of one type each (`anyOf`, lists of types). Each
of them has to keep every keyword of the whole, or of one branch of its `anyOf`. Leaving out a keyword of the part makes
it larger, which is always safe; no keyword of the whole is ever left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotswap.domain.schemas import (
    BY_THEMSELVES,
    COMPARED,
    DIALECT,
    HOLDING,
    OF_KIND,
    Schema,
    alternatives,
    bare,
    is_of,
    kinds,
    refers,
    same,
    values,
)

MOST_NAMES = 10

_KINDS = {
    "null": "null",
    "boolean": "true and false",
    "integer": "whole numbers",
    "number": "numbers",
    "string": "text",
    "array": "lists",
    "object": "values by name",
}


@dataclass(frozen=True, slots=True)
class Gap:
    """A reason why a value of the part may not be one of the whole; with `kind`, (almost) all values of that type."""

    field: str
    message: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class SchemaComparison:
    """The gaps between two schemas, the part and the whole, and the words in which they are told."""

    part: str
    whole: str
    lacks: str
    """The words for names that the whole requires and the part doesn't."""
    unknown: str | None
    """The words for names that the part may have and the whole doesn't know; None if these don't matter."""

    def gaps(self, part: Schema, whole: Schema, at: str) -> list[Gap]:
        """Return the gaps; without one every value of the part is a value of the whole."""
        now, then = bare(part), bare(whole)
        if same(now, then):
            return []
        for schema, plain in ((part, now), (whole, then)):
            dialect = schema.get("$schema", DIALECT) if isinstance(schema, Mapping) else DIALECT
            if str(dialect).rstrip("#") != DIALECT or refers(plain):
                return [Gap(at, "the two schemas differ and can't be compared: one refers to another schema")]
        return list(self._gaps(now, then, at))

    def _gaps(self, part: Schema, whole: Schema, at: str) -> Iterator[Gap]:
        if same(part, whole):
            return
        lost: dict[str, list[str]] = {}
        for alternative in alternatives(part):
            for gap in self._each(alternative, whole, at):
                if gap.kind is not None and gap.field == at:
                    lost.setdefault(gap.message, []).append(gap.kind)
                else:
                    yield gap
        for wanted, gone in lost.items():
            yield Gap(at, f"{self.part} {_and(_KINDS[kind] for kind in gone)}, {self.whole} {wanted}")

    def _each(self, part: dict[str, Any], whole: Schema, at: str) -> Iterator[Gap]:
        """Return the gaps of one alternative, which has one type."""
        if not isinstance(whole, Mapping):
            if whole is False:
                yield Gap(at, "nothing", kind=part["type"])
            return
        if same(part, whole):
            return
        alone = {key: value for key, value in whole.items() if key not in {"anyOf", "allOf"}}
        yield from self._keeps(part, alone, at)
        if "allOf" in whole and not same(part.get("allOf"), whole["allOf"]):
            for every in whole["allOf"]:
                yield from self._each(part, every, at)
        if "anyOf" in whole:
            yield from self._nearest(part, whole["anyOf"], at)

    def _nearest(self, part: dict[str, Any], branches: Sequence[Schema], at: str) -> list[Gap]:
        """Return the gaps to the branch with the fewest; a branch of the same type is preferred."""
        found = [list(self._each(part, branch, at)) for branch in branches]
        alike = [gaps for gaps in found if not any(gap.kind is not None and gap.field == at for gap in gaps)]
        if alike:
            return min(alike, key=len)
        wanted = dict.fromkeys(kind for branch in branches for kind in kinds(branch))
        return [Gap(at, _only(wanted), kind=part["type"])]

    def _keeps(self, part: dict[str, Any], whole: dict[str, Any], at: str) -> Iterator[Gap]:
        """Yield the gaps between values of one type and the whole's keywords about that type."""
        kind, known, wanted = part["type"], values(part), kinds(whole)
        if not _holds(wanted, kind, known):
            yield Gap(at, _only(wanted), kind=kind)
            return
        if (allowed := values(whole)) is not None:
            yield from self._among(known, allowed, part, at)
        family = "number" if kind == "integer" else kind
        if family == "number":
            yield from self._bounds(part, whole, known, at)
        elif family == "string":
            yield from self._lengths(part, whole, known, at)
        elif family == "array":
            yield from self._lists(part, whole, at)
        elif family == "object":
            yield from self._names(part, whole, at)
        others = frozenset().union(*(words for name, words in OF_KIND.items() if name != family))
        for keyword in sorted(whole.keys() - COMPARED - HOLDING - others):
            if not (keyword in BY_THEMSELVES and keyword in part and same(part[keyword], whole[keyword])):
                yield Gap(at, f"{self.whole} only what `{keyword}` says, which can't be compared")

    def _among(self, known: list[Any] | None, allowed: list[Any], part: dict[str, Any], at: str) -> Iterator[Gap]:
        shown = listed([text(value) for value in allowed])
        if known is None:
            yield Gap(at, f"{self.part} any {_ANY.get(part['type'], 'value')}, {self.whole} only {shown}")
            return
        gone = [value for value in known if not any(same(value, each) for each in allowed)]
        if gone:
            yield Gap(at, f"{self.part} {listed([text(value) for value in gone])}, {self.whole} only {shown}")

    def _bounds(self, part: dict[str, Any], whole: dict[str, Any], known: list[Any] | None, at: str) -> Iterator[Gap]:
        for names, word, sign in (
            (("minimum", "exclusiveMinimum"), "at least", 1),
            (("maximum", "exclusiveMaximum"), "at most", -1),
        ):
            limit, reach = _limit(whole, names, sign), _limit(part, names, sign)
            if limit is None:
                continue
            if known is not None:
                ends = [(sign * value, False) for value in known]
                reach = min(ends) if reach is None else max(min(ends), reach)
            if reach is None or reach < limit:
                has = "any number" if reach is None else f"{word} {_number(sign * reach[0], reach[1])}"
                yield Gap(at, f"{self.part} {has}, {self.whole} {word} {_number(sign * limit[0], limit[1])}")

    def _lengths(self, part: dict[str, Any], whole: dict[str, Any], known: list[Any] | None, at: str) -> Iterator[Gap]:
        lengths = [len(value) for value in known or () if isinstance(value, str)]
        least = max(part.get("minLength", 0), min(lengths, default=0))
        most = min(part.get("maxLength", _ENDLESS), max(lengths, default=_ENDLESS))
        if (limit := whole.get("minLength", 0)) > least:
            yield Gap(at, f"{self.part} text of {least} or more characters, {self.whole} of at least {limit}")
        if (limit := whole.get("maxLength", _ENDLESS)) < most:
            has = "text of any length" if most == _ENDLESS else f"text of up to {most:g} characters"
            yield Gap(at, f"{self.part} {has}, {self.whole} of at most {limit}")

    def _lists(self, part: dict[str, Any], whole: dict[str, Any], at: str) -> Iterator[Gap]:
        has, wants = _List.of(part), _List.of(whole)
        if wants.least > has.least or wants.most < has.most:
            yield Gap(at, f"{self.part} lists of {has.size}, {self.whole} lists of {wants.size}")
        listed = max(len(has.first), len(wants.first))
        for position in range(listed):
            if position < min(has.most, wants.most):
                yield from self._gaps(has.item(position), wants.item(position), f"{at}[{position}]")
        if min(has.most, wants.most) > listed:
            yield from self._gaps(has.rest, wants.rest, f"{at}[*]")

    def _names(self, part: dict[str, Any], whole: dict[str, Any], at: str) -> Iterator[Gap]:
        has, wants = part.get("properties", {}), whole.get("properties", {})
        # What patterns say of names is left out of the part, so that any value may stand there.
        more = True if "patternProperties" in part else part.get("additionalProperties", True)
        takes_more = whole.get("additionalProperties", True)
        required = part.get("required", ())
        if lacking := [name for name in whole.get("required", ()) if name not in required]:
            yield Gap(at, self.lacks.format(names=listed(lacking)))
        unknown = [name for name in has if name not in wants and has[name] is not False]
        if takes_more is False:
            others = [*unknown, *(["any other name"] if more is not False else [])]
            if others and self.unknown is not None:
                yield Gap(at, self.unknown.format(names=listed(others)))
        else:
            for name in unknown:
                yield from self._gaps(has[name], takes_more, f"{at}.{name}")
            yield from self._gaps(more, takes_more, f"{at}.*")
        for name, wanted in wants.items():
            if name in has or name not in lacking:
                yield from self._gaps(has.get(name, more), wanted, f"{at}.{name}")
        closed = more is False and "patternProperties" not in part
        least = max(part.get("minProperties", 0), len(set(required)))
        most = min(part.get("maxProperties", _ENDLESS), len(has) if closed else _ENDLESS)
        if whole.get("minProperties", 0) > least or whole.get("maxProperties", _ENDLESS) < most:
            yield Gap(at, f"{self.part} another number of names than {self.whole}")


_ENDLESS = float("inf")
_ANY = {"integer": "whole number", "number": "number", "string": "text", "array": "list", "object": "values by name"}


@dataclass(frozen=True, slots=True)
class _List:
    first: Sequence[Schema]
    rest: Schema
    least: float
    most: float

    @classmethod
    def of(cls, schema: dict[str, Any]) -> "_List":
        first, rest = schema.get("prefixItems", ()), schema.get("items", True)
        most = schema.get("maxItems", _ENDLESS)
        return cls(first, rest, schema.get("minItems", 0), min(most, len(first)) if rest is False else most)

    def item(self, position: int) -> Schema:
        return self.first[position] if position < len(self.first) else self.rest

    @property
    def size(self) -> str:
        if self.least == self.most:
            return f"{self.least:g}"
        if self.most == _ENDLESS:
            return f"{self.least:g} or more" if self.least else "any length"
        return f"{self.least:g} to {self.most:g}"


def _holds(wanted: Sequence[str], kind: str, known: list[Any] | None) -> bool:
    """Return whether all values of this type are values of a wanted one."""
    if kind in wanted or (kind == "integer" and "number" in wanted):
        return True
    return "integer" in wanted and known is not None and all(is_of(value, "integer") for value in known)


def _limit(schema: Mapping[str, Any], names: tuple[str, str], sign: int) -> tuple[float, bool] | None:
    """Return the stricter of a bound and an exclusive one, compared as a lower bound; true if it is excluded itself."""
    return max(((sign * schema[name], name != names[0]) for name in names if name in schema), default=None)


def _only(wanted: Iterable[str]) -> str:
    return f"only {_and(_KINDS.get(kind, kind) for kind in wanted) or 'nothing'}"


def _and(parts: Iterable[str]) -> str:
    *most, last = list(parts) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _number(value: float, is_out: bool) -> str:
    return f"{value:g} (which is out)" if is_out else f"{value:g}"


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def text(value: Any) -> str:
    """Return the value as JSON, shortened."""
    shown = (
        {True: "true", False: "false"}[value] if isinstance(value, bool) else "null" if value is None else str(value)
    )
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
