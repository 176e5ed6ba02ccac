"""XGBoost's boosters in its own formats, JSON and UBJSON, which hold data only. A missing value is null."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT, NUMBER_OR_MISSING, RowColumns, classified, of_two, valued


def load(directory: Path, terms: Terms) -> "XGBoostModel":
    """Load a model. Raises ValidationFailed naming `artifactPath` when there is none or it can't be loaded."""
    path = the_model(directory, ".json", ".ubj", ".xgb")
    booster = xgboost.Booster({"nthread": int(os.environ.get("OMP_NUM_THREADS") or 1)})
    try:
        booster.load_model(bytearray(path.read_bytes()) if path.suffix == ".xgb" else path)
        return XGBoostModel(booster, gpu=terms.gpu)
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes it raise
        raise not_loaded(path, error) from None


class XGBoostModel:
    def __init__(self, booster: Any, *, gpu: bool) -> None:
        self.device = "cuda" if gpu and xgboost.build_info().get("USE_CUDA") else "cpu"
        booster.set_param({"device": self.device})
        self._booster = booster
        self._objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
        self._columns = RowColumns(booster.num_features(), tuple(booster.feature_names or ()), NUMBER_OR_MISSING)
        self.input_schema = self._columns.schema
        self.output_schema: dict[str, Any] = {**DIALECT, "title": "prediction", "description": self._objective}

    @np.errstate(over="raise")
    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        rows = np.asarray(self._columns.rows(instances), dtype=np.float32)
        found = self._booster.inplace_predict(rows, validate_features=False).tolist()
        match self._objective:
            case "binary:logistic":
                return of_two(found)
            case "multi:softprob":
                return classified(found)
            case "multi:softmax" | "binary:hinge":
                return valued([int(each) for each in found])
        return valued(found)
