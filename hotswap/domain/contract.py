"""The contract with clients: the requests that a version accepts and the answers that it gives. Pure.

Two versions' contracts are compared. Both sides are JSON Schemas as the runtimes make them, or as a model of framework
Custom gives its own. A change narrows the contract if the candidate would refuse a request that the stable accepts, or
if an answer would lack what clients read from the stable's. The comparison is safe rather than sharp: what it can't
compare counts as narrowing, so a request that one accepts and the other refuses is always reported. The order of
columns belongs to the contract wherever rows are lists, since a list is read by position and no schema would refuse it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hotswap.domain.inclusion import Gap, SchemaComparison, listed, text
from hotswap.domain.schemas import Schema, same
from hotswap.domain.validation import CheckName, ValidationCheck


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of what serves where a deployment goes; `may_narrow` says that narrowing it was accepted."""

    version: str
    input_schema: Schema
    output_schema: Schema
    may_narrow: bool = False


OUTPUTS = "x-outputs"
"""Keyword of an output schema: the tensors that are answered, each with a `name`; `datatype` and `shape` if known."""

NON_FINITE = "x-non-finite"
"""Keyword of an output schema: true where an answer may hold numbers that are not finite, which JSON writes as null."""

MOST_CHANGES = 20
MOST_TOLD = 5


def kept(contract: Contract | None, input_schema: Schema, output_schema: Schema) -> ValidationCheck:
    """Return the row of the validation report that says whether a candidate of these schemas keeps the contract."""
    if contract is None:
        return ValidationCheck(CheckName.CONTRACT, None, "nothing serves there yet that clients could rely on")
    found = narrowing(contract_changes(contract.input_schema, input_schema, contract.output_schema, output_schema))
    if found is None:
        return ValidationCheck(
            CheckName.CONTRACT, True, f"takes and answers what {contract.version} does, which serves"
        )
    if contract.may_narrow:
        return ValidationCheck(
            CheckName.CONTRACT, True, f"narrower than {contract.version}, which serves, as accepted: {found}"
        )
    return ValidationCheck(
        CheckName.CONTRACT,
        False,
        f"narrower than {contract.version}, which serves: {found}; where clients are ready for that, deploy it with "
        "acceptContractChange (`--accept-contract-change`)",
    )


@dataclass(frozen=True, slots=True)
class ContractChange:
    """`field` is a place in a request (`features.amount`, `features[3]`) or in an answer (`prediction.label`)."""

    field: str
    message: str
    narrows: bool


def contract_changes(
    now_input: Schema, then_input: Schema, now_output: Schema, then_output: Schema
) -> tuple[ContractChange, ...]:
    """Return what changes for clients, first what narrows the contract; many changes of one kind are only counted."""
    found = [*input_changes(now_input, then_input), *output_changes(now_output, then_output)]
    return tuple(sorted(found, key=lambda change: not change.narrows))


def input_changes(now: Schema, then: Schema) -> tuple[ContractChange, ...]:
    """Return what the stable accepts (`now`) and the candidate (`then`) refuses or reads differently."""
    gaps = [*_TAKING.gaps(now, then, "features"), *_order(now, then)]
    return tuple(_changes(gaps, narrows=True))


def output_changes(now: Schema, then: Schema) -> tuple[ContractChange, ...]:
    """Return the parts of the stable's answers that disappear, or change their name or type."""
    gaps = [*_ANSWERING.gaps(then, now, "prediction")]
    if allows_non_finite(then) and not allows_non_finite(now):
        gaps.append(Gap("prediction", "the candidate may answer null for a number, which the stable never does"))
    return (*_changes(gaps, narrows=True), *_tensors(now, then))


def allows_non_finite(output_schema: Schema) -> bool:
    """Return whether the version was registered with answers that may hold NaN or infinity."""
    return isinstance(output_schema, Mapping) and output_schema.get(NON_FINITE) is True


def narrowing(changes: Iterable[ContractChange]) -> str | None:
    """Return a sentence about what narrows the contract; None where nothing does."""
    told = [f"{change.field}: {change.message}" for change in changes if change.narrows]
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return "; ".join([*told[:MOST_TOLD], *more]) or None


_TAKING = SchemaComparison(
    part="the stable takes",
    whole="the candidate takes",
    lacks="the candidate requires {names}, which the stable does without",
    unknown="the stable takes {names}, which the candidate doesn't know",
)
_ANSWERING = SchemaComparison(
    part="the candidate answers",
    whole="the stable answers",
    lacks="the stable always answers {names}, the candidate doesn't",
    unknown=None,
)


def _changes(gaps: Iterable[Gap], *, narrows: bool) -> list[ContractChange]:
    found = list(dict.fromkeys((gap.field, gap.message) for gap in gaps))
    shown = [ContractChange(field, message, narrows) for field, message in found[:MOST_CHANGES]]
    if len(found) > MOST_CHANGES:
        more = f"{len(found) - MOST_CHANGES} more changes of this kind"
        shown.append(ContractChange(found[0][0].partition(".")[0].partition("[")[0], more, narrows))
    return shown


def columns(schema: Schema) -> tuple[str, ...]:
    """Return the names of a row's values in their order, if a row may be a list or an object; otherwise none.

    The order is that of `required`: a list keeps its order wherever it is stored, an object doesn't.
    """
    forms = (
        [each for each in schema.get("anyOf", ()) if isinstance(each, Mapping)] if isinstance(schema, Mapping) else []
    )
    by_name = next((each for each in forms if "properties" in each), None)
    if by_name is None or not any(each.get("type") == "array" for each in forms):
        return ()
    return tuple(by_name.get("required", ()))


def _order(now: Schema, then: Schema) -> Iterator[Gap]:
    stable, candidate = columns(now), columns(then)
    if [name for name in stable if name in candidate] != [name for name in candidate if name in stable]:
        yield Gap(
            "features",
            "lists are taken by position, and the columns have another order: the stable's is "
            f"{listed(stable)}, the candidate's {listed(candidate)}",
        )


def _tensors(now: Schema, then: Schema) -> Iterator[ContractChange]:
    stable, candidate = _outputs(now), _outputs(then)
    if stable is None or candidate is None:
        described = [_described(schema) for schema in (now, then)]
        if described[0] != described[1]:
            told = f"the answers are described as {described[1]!r}, the stable's as {described[0]!r}"
            yield ContractChange("prediction", told, narrows=False)
        return
    answered = listed(list(candidate)) or "nothing"
    for name, said in stable.items():
        if name not in candidate:
            told = f"the stable answers the output {name}, which the candidate doesn't: it answers {answered}"
            yield ContractChange(f"outputs.{name}", told, narrows=True)
            continue
        for key, word in (("datatype", "type"), ("shape", "shape")):
            before, after = said.get(key), candidate[name].get(key)
            if before is not None and after is not None and not same(before, after):
                told = f"the {word} of this output is {text(before)} of the stable, {text(after)} of the candidate"
                yield ContractChange(f"outputs.{name}", told, narrows=True)
    for name in candidate:
        if name not in stable:
            yield ContractChange(f"outputs.{name}", "the candidate answers this output, the stable doesn't", False)


def _outputs(schema: Schema) -> dict[str, Mapping[str, Any]] | None:
    """Return the outputs by name; None for a version that was registered before they were recorded."""
    said = schema.get(OUTPUTS) if isinstance(schema, Mapping) else None
    return None if said is None else {str(each["name"]): each for each in said}


def _described(schema: Schema) -> str:
    return str(schema.get("description", "")) if isinstance(schema, Mapping) else ""
