"""Scikit-learn estimators by skops, which rebuilds them from data: unlike a pickle it runs nothing of the artifact's.

What is made of types beyond those that skops trusts is refused unless the operator trusts them: building them may run
their code, and scikit-learn's trees follow whatever node numbers a file holds, out of their memory too. An estimator
that was fitted on a table with named columns takes objects by these names, and gets a table again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from hotswap.domain.errors import ValidationFailed
from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT, RowColumns, valued

_OF_A_TABLE: dict[str, Any] = {"anyOf": [{"type": kind} for kind in ("number", "string", "boolean", "null")]}


def load(directory: Path, terms: Terms) -> "ScikitLearnModel":
    """Load a model.

    Raises ValidationFailed naming `artifactPath` when there is none or it can't be loaded or served.
    """
    path = the_model(directory, ".skops")
    try:
        untrusted = set(skops.io.get_untrusted_types(file=path)) - set(terms.trusted_types)
        estimator = None if untrusted else skops.io.load(path, trusted=list(terms.trusted_types))
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes it raise
        raise not_loaded(path, error) from None
    if untrusted:
        raise ValidationFailed.of(
            "artifactPath",
            f"{path.name} holds {', '.join(sorted(untrusted)[:5])}, which skops can't vouch for: export to ONNX,"
            " or, where who uploads is trusted, let the operator name it in HOTSWAP_SERVING__TRUSTED_TYPES",
        )
    if not hasattr(estimator, "predict") or not hasattr(estimator, "n_features_in_"):
        raise ValidationFailed.of("artifactPath", f"{path.name} holds no fitted estimator that predicts")
    return ScikitLearnModel(estimator)


class ScikitLearnModel:
    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self.device = "cpu"
        names = tuple(getattr(estimator, "feature_names_in_", ()))
        self._columns = RowColumns(int(estimator.n_features_in_), names, _OF_A_TABLE if names else {"type": "number"})
        self._classes = [each.item() if isinstance(each, np.generic) else each for each in _classes(estimator)]
        self.input_schema = self._columns.schema
        self.output_schema: dict[str, Any] = {**DIALECT, "title": "prediction", "description": type(estimator).__name__}

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        rows = self._columns.rows(instances)
        table: Any = pd.DataFrame(rows, columns=list(self._columns.names)) if self._columns.names else np.asarray(rows)
        values = self._estimator.predict(table).tolist()
        if not self._classes:
            return valued(values)
        probabilities = self._estimator.predict_proba(table).tolist()
        return [
            Prediction(value, row[self._classes.index(value)]) for value, row in zip(values, probabilities, strict=True)
        ]


def _classes(estimator: Any) -> Sequence[Any]:
    """Return the classes of one label if the estimator gives their probabilities, otherwise none."""
    classes = getattr(estimator, "classes_", ())
    several_labels = isinstance(classes, list)
    return () if several_labels or not hasattr(estimator, "predict_proba") else classes
