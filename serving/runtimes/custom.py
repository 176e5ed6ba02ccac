"""Models by the artifact's own Python: `model.py` with `load(directory)`, only where the operator trusts who uploads.

What it returns has `predict(instances)`, a list with an answer for each instance, and `input_schema`, JSON Schema of
one instance. An answer is a value, or {"prediction": ..., "confidence": ...}. Other modules beside `model.py` can be
imported.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotswap.domain.errors import ValidationFailed
from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT


def load(directory: Path, terms: Terms) -> "CustomModel":
    """Load custom code.

    Raises ValidationFailed naming `framework` where it isn't allowed, `artifactPath` when it can't be loaded.
    """
    if not terms.custom_code:
        raise ValidationFailed.of(
            "framework",
            "Custom runs the artifact's own code: where everyone who may upload is trusted, the operator allows it with"
            " HOTSWAP_SERVING__ALLOW_CUSTOM_CODE=true on the workers and on Ray's nodes; else export to ONNX",
        )
    path = the_model(directory, "model.py")
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location("hotswap_custom_model", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return CustomModel(module.load(path.parent))
    except ValidationFailed:
        raise
    except Exception as error:  # noqa: BLE001 - it is anybody's code
        raise not_loaded(path, error) from None


class CustomModel:
    def __init__(self, model: Any) -> None:
        if not callable(getattr(model, "predict", None)) or not isinstance(getattr(model, "input_schema", None), dict):
            raise ValidationFailed.of(
                "artifactPath", "what load(directory) of model.py returns needs predict(instances) and input_schema"
            )
        self._model = model
        self.device = str(getattr(model, "device", "cpu"))
        self.input_schema: dict[str, Any] = DIALECT | model.input_schema
        self.output_schema: dict[str, Any] = {**DIALECT, "title": "prediction"} | getattr(model, "output_schema", {})

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        return [_prediction(answer) for answer in self._model.predict(list(instances))]


def _prediction(answer: Any) -> Prediction:
    if isinstance(answer, dict) and answer.keys() <= {"prediction", "confidence"} and "prediction" in answer:
        return Prediction(answer["prediction"], answer.get("confidence"))
    return Prediction(answer, None)
