"""JSON Schema as it is written: its keywords, and what two schemas have in common before they are compared. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Any
"""An object, or true or false, as JSON Schema has it."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ANNOTATIONS = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "$anchor",
        "$vocabulary",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
    }
)
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS_OF_SCHEMAS = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_SCHEMAS = frozenset(
    {
        "items",
        "additionalProperties",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
OF_KIND = {
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "string": frozenset(
        {"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType", "contentSchema"}
    ),
    "array": frozenset(
        {
            "items",
            "prefixItems",
            "minItems",
            "maxItems",
            "uniqueItems",
            "contains",
            "minContains",
            "maxContains",
            "unevaluatedItems",
        }
    ),
    "object": frozenset(
        {
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "minProperties",
            "maxProperties",
            "propertyNames",
            "dependentRequired",
            "dependentSchemas",
            "unevaluatedProperties",
        }
    ),
}
"""Keywords that say something of one type only; of any other value they are true."""
COMPARED = frozenset(
    {
        "type",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "properties",
        "required",
        "additionalProperties",
        "minProperties",
        "maxProperties",
    }
)
BY_THEMSELVES = frozenset(
    {
        "type",
        "enum",
        "const",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "uniqueItems",
        "not",
        "oneOf",
        "propertyNames",
        "patternProperties",
        "dependentRequired",
        "dependentSchemas",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    }
)
"""Keywords that don't depend on those beside them: where both have the same, the part keeps the whole's."""
HOLDING = frozenset({"$defs", "definitions"})
"""They only hold schemas for references; what refers isn't compared."""
KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")


def alternatives(schema: Schema) -> Iterator[dict[str, Any]]:
    """Return schemas of one type each, which together hold at least what this one does."""
    if schema is False:
        return
    said = schema if isinstance(schema, Mapping) else {}
    if "anyOf" in said:
        beside = {key: value for key, value in said.items() if key in BY_THEMSELVES}
        for branch in said["anyOf"]:
            if branch is not False:
                yield from alternatives({**beside, **(branch if isinstance(branch, Mapping) else {})})
        return
    known = values(said)
    for kind in kinds(said):
        alternative = {**said, "type": kind}
        if known is not None:
            of_kind = [value for value in known if is_of(value, kind)]
            if not of_kind:
                continue
            alternative = {**alternative, "enum": of_kind}
            alternative.pop("const", None)
        yield alternative


def kinds(schema: Schema) -> list[str]:
    """Return the types of a schema's values, without those that another of the types includes."""
    if schema is False:
        return []
    said = schema.get("type") if isinstance(schema, Mapping) else None
    found = list(KINDS) if said is None else [said] if isinstance(said, str) else list(said)
    return [kind for kind in found if not (kind == "integer" and "number" in found)]


def is_of(value: Any, kind: str) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and isinstance(value, int | float) and value == value // 1
        case "number":
            return not isinstance(value, bool) and isinstance(value, int | float)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list | tuple)
    return isinstance(value, Mapping)


def values(schema: Mapping[str, Any]) -> list[Any] | None:
    """Return all values of a schema that lists them, otherwise None."""
    if "const" in schema:
        alone = schema["const"]
        return [alone] if any(same(alone, each) for each in schema.get("enum", [alone])) else []
    if "enum" in schema:
        return list(schema["enum"])
    if schema.get("type") == "null":
        return [None]
    return [True, False] if schema.get("type") == "boolean" else None


def bare(schema: Schema) -> Schema:
    """Return the schema without keywords that only describe it."""
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _ANNOTATIONS or key.startswith("x-"):
            continue
        if key in _MAPS_OF_SCHEMAS and isinstance(value, Mapping):
            found[key] = {name: bare(each) for name, each in value.items()}
        elif key in _LISTS_OF_SCHEMAS and isinstance(value, list | tuple):
            found[key] = [bare(each) for each in value]
        elif key in _SCHEMAS:
            found[key] = bare(value)
        elif key in {"required", "type"} and isinstance(value, list | tuple):
            found[key] = sorted(value)
        else:
            found[key] = value
    return found


def refers(schema: Any) -> bool:
    """Return whether a reference is anywhere in it; a property with that name counts too, which is safe."""
    if isinstance(schema, Mapping):
        return bool(schema.keys() & _REFERENCES) or any(map(refers, schema.values()))
    return isinstance(schema, list | tuple) and any(map(refers, schema))


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal as JSON: true isn't 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
