"""What a framework's runtime is: one small file here per framework, found by `load`.

A runtime turns an unpacked artifact into a `Model`; everything else (HTTP, schema checks, records, warm-up) is the
replica's. It is imported only when it is needed, so that an absent extra costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework

RUNTIMES = {Framework.ONNX: "serving.runtimes.onnx"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """`confidence` is the probability of the predicted class, None where the model gives none."""

    value: Any
    confidence: float | None


class Model(Protocol):
    """A loaded model. The schemas are JSON Schema of one request's `features` and of one prediction."""

    input_schema: dict[str, Any]
    output_schema: dict[str, Any]

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        """One prediction per instance, in their order; each instance fits `input_schema`, ranges of fractions aside.

        Raises ArithmeticError when a number is beyond its range, SchemaValidationFailed when an instance doesn't fit in
        a way that no schema can say. Whatever else is raised is the model's failure.
        """
        ...


def load(framework: Framework, directory: Path, *, gpu: bool = False) -> Model:
    """Raises ValidationFailed naming `framework` or `artifactPath`."""
    module = RUNTIMES.get(framework)
    if module is None:
        raise ValidationFailed.of("framework", f"{framework} is not served yet; {', '.join(RUNTIMES)} is")
    model: Model = import_module(module).load(directory, gpu=gpu)
    return model
