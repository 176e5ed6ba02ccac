"""What a version answers is noted where it is looked at, so that a renamed output is told before a client meets it."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from hotswap.domain.contract import narrowing, output_changes
from hotswap.domain.vocabulary import Framework
from serving.inspect_child import look, outputs
from serving.runtimes import Prediction, Terms
from tests.fixtures.models import save_graph

FLOATS, INTEGERS = TensorProto.FLOAT, TensorProto.INT64


def described(directory: Path, name: str, kind: int, shape: list[str | int]) -> dict[str, Any]:
    """The output schema of a graph that answers its input under this name, as this type."""
    directory.mkdir()
    save_graph(
        directory,
        [helper.make_node("Cast", ["x"], [name], to=kind)],
        inputs=[("x", FLOATS, shape)],
        outputs=[(name, kind, shape)],
    )
    found: dict[str, Any] = look(Framework.ONNX, directory, Terms())["outputSchema"]
    return found


@pytest.mark.parametrize(
    ("name", "kind", "shape", "told"),
    [
        ("label", INTEGERS, ["n", 2], None),
        ("output_label", INTEGERS, ["n", 2], "outputs.label: the stable answers the output label, which the candidate"),
        ("label", FLOATS, ["n", 2], "outputs.label: the type of this output is INT64 of the stable, FP32 of the"),
        ("label", INTEGERS, ["n", 3], "outputs.label: the shape of this output is [-1, 2] of the stable, [-1, 3] of"),
    ],
)
def test_an_output_that_goes_or_changes_is_told(
    tmp_path: Path, name: str, kind: int, shape: list[str | int], told: str | None
) -> None:
    now = described(tmp_path / "now", "label", INTEGERS, ["n", 2])
    assert now["x-outputs"] == [{"name": "label", "datatype": "INT64", "shape": [-1, 2]}]
    found = narrowing(output_changes(now, described(tmp_path / "then", name, kind, shape)))
    assert (found is None) if told is None else (found or "").startswith(told)


class Guesses:
    """A model whose runtime knows nothing of its answers."""

    input_schema: dict[str, Any] = {"type": "array", "items": {"type": "number"}}  # noqa: RUF012
    output_schema: dict[str, Any] = {}  # noqa: RUF012
    device = "cpu"

    def predict(self, instances: Any) -> list[Prediction]:
        raise AssertionError("its answers are given")


def test_what_a_runtime_does_not_know_is_learned_of_its_answers() -> None:
    found = outputs(Guesses(), Framework.SCIKIT_LEARN, [None, Prediction([1.0, 2.0], 0.5)])
    assert found == {
        "x-outputs": [
            {"name": "prediction", "datatype": "FP64", "shape": [-1, -1]},
            {"name": "confidence", "datatype": "FP64", "shape": [-1]},
        ]
    }
    assert outputs(Guesses(), Framework.CUSTOM, [Prediction(1, None)]) == {"x-outputs": [{"name": "prediction"}]}
    assert outputs(Guesses(), Framework.SCIKIT_LEARN, [None]) == {}, "nothing was answered"
