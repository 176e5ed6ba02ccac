"""What a framework's runtime is: one small file here per framework, found by `load`.

A runtime turns an unpacked artifact into a `Model`; everything else (HTTP, schema checks, records, warm-up) is the
replica's. It is imported only when it is needed, so that an absent extra costs nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.pickles import refuse_pickles

RUNTIMES = {
    Framework.ONNX: "serving.runtimes.onnx",
    Framework.SCIKIT_LEARN: "serving.runtimes.scikit_learn",
    Framework.XGBOOST: "serving.runtimes.xgboost",
    Framework.LIGHTGBM: "serving.runtimes.lightgbm",
}
EXTRAS = {Framework.SCIKIT_LEARN: "scikit-learn", Framework.XGBOOST: "xgboost", Framework.LIGHTGBM: "lightgbm"}
"""Which extra of the package `hotswap` brings what a runtime needs; ONNX needs none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a model is loaded here."""

    gpu: bool = False
    """Whether the replica has one; the runtime takes it where its build can."""
    trusted_types: Collection[str] = ()
    """`HOTSWAP_SERVING__TRUSTED_TYPES`."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """`confidence` is the probability of the predicted class, None where the model gives none."""

    value: Any
    confidence: float | None


_PLAIN = Terms()


class Model(Protocol):
    """A loaded model. The schemas are JSON Schema of one request's `features` and of one prediction.

    One that knows its tensors by name has them in `inputs` and `outputs` too, as
    `serving.runtimes.tensors.TensorInput`; the first output is what its predictions are
    (`serving/open_inference/signature.py`).
    """

    input_schema: dict[str, Any]
    output_schema: dict[str, Any]

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        """One prediction per instance, in their order; each instance fits `input_schema`, ranges of fractions aside.

        Raises ArithmeticError when a number is beyond its range, SchemaValidationFailed when an instance doesn't fit in
        a way that no schema can say. Whatever else is raised is the model's failure.
        """
        ...


def load(framework: Framework, directory: Path, terms: Terms = _PLAIN) -> Model:
    """Raises ValidationFailed naming `framework` or `artifactPath`."""
    name = RUNTIMES.get(framework)
    if name is None:
        raise ValidationFailed.of("framework", f"{framework} is not served yet; {', '.join(RUNTIMES)} are")
    try:
        runtime = import_module(name)
    except ModuleNotFoundError as missing:
        if (extra := EXTRAS.get(framework)) is None:
            raise
        raise ValidationFailed.of(
            "framework",
            f"{framework} needs {missing.name}, which is not installed here; on every worker and Ray node:"
            f" pip install 'hotswap[{extra}]'",
        ) from None
    refuse_pickles(directory)
    model: Model = runtime.load(directory, terms)
    return model
