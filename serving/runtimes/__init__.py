"""Runtimes of frameworks: one small file here per framework, found by `load`.

A runtime turns an unpacked artifact into a `LoadedModel`; the replica does everything else (HTTP, schema checks,
records, warm-up). A runtime is imported only when it is needed, so that an absent extra costs nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.pickles import refuse_pickles

if TYPE_CHECKING:  # the process that looks into an artifact starts in half the time without pydantic
    from hotswap.settings import ServingSettings
    from serving.runtimes.tensors import TensorInputs

RUNTIMES = {
    Framework.ONNX: "serving.runtimes.onnx",
    Framework.SCIKIT_LEARN: "serving.runtimes.scikit_learn",
    Framework.XGBOOST: "serving.runtimes.xgboost",
    Framework.LIGHTGBM: "serving.runtimes.lightgbm",
    Framework.PYTORCH: "serving.runtimes.pytorch",
    Framework.TENSORFLOW: "serving.runtimes.tensorflow",
    Framework.CUSTOM: "serving.runtimes.custom",
}
EXTRAS = {
    Framework.SCIKIT_LEARN: "scikit-learn",
    Framework.XGBOOST: "xgboost",
    Framework.LIGHTGBM: "lightgbm",
    Framework.PYTORCH: "pytorch",
    Framework.TENSORFLOW: "tensorflow",
}
"""The extra of the package `hotswap` that brings what a runtime needs; ONNX and Custom need none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms on which a model is loaded here."""

    gpu: bool = False
    """True if the replica has a GPU; the runtime uses it if its build can."""
    trusted_types: Collection[str] = ()
    """`HOTSWAP_SERVING__TRUSTED_TYPES`."""
    custom_code: bool = False
    """`HOTSWAP_SERVING__ALLOW_CUSTOM_CODE`."""
    takes: "TensorInputs | None" = None
    """The input of a model that doesn't know it itself, if something beside it says so."""

    @classmethod
    def of(cls, settings: "ServingSettings", *, gpu: bool = False) -> "Terms":
        return cls(gpu, settings.trusted_types, settings.allow_custom_code)


@dataclass(frozen=True, slots=True)
class Prediction:
    """`confidence` is the probability of the predicted class, None where the model gives none."""

    value: Any
    confidence: float | None


PLAIN = Terms()


class LoadedModel(Protocol):
    """A loaded model. The schemas are JSON Schema of one request's `features` and of one prediction.

    One that knows its tensors by name has them in `inputs` and `outputs` too, as
    `serving.runtimes.tensors.TensorInput`; the first output is what its predictions are
    (`serving/open_inference/signature.py`).
    `device` is what it runs on: `cpu` or `cuda`.
    """

    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    device: str

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        """Return one prediction per instance, in their order.

        Each instance fits `input_schema`, except for the ranges of fractions. Raises ArithmeticError when a number is
        beyond its range, and SchemaValidationFailed when an instance doesn't fit in a way that no schema can express.
        Any other exception is the model's failure.
        """
        ...


def load(framework: Framework, directory: Path, terms: Terms = PLAIN) -> LoadedModel:
    """Load a model. Raises ValidationFailed naming `framework` or `artifactPath`."""
    runtime = _runtime(framework)
    if framework is not Framework.CUSTOM:  # whose own code could unpickle whatever it likes
        refuse_pickles(directory)
    from serving.runtimes import mlflow  # which needs what stands above

    described = mlflow.described(framework, directory)
    if described is None:
        model: LoadedModel = runtime.load(directory, terms)
        return model
    return mlflow.signed(runtime.load(described.place, replace(terms, takes=described.takes)), described.columns)


def _runtime(framework: Framework) -> Any:
    try:
        return import_module(RUNTIMES[framework])
    except ModuleNotFoundError as missing:
        if (extra := EXTRAS.get(framework)) is None:
            raise
        raise ValidationFailed.of(
            "framework",
            f"{framework} needs {missing.name}, which is not installed here; on every worker and Ray node:"
            f" pip install 'hotswap[{extra}]'",
        ) from None
