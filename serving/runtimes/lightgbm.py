"""LightGBM's boosters in its own text format, which holds data only. A missing value is null."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from serving.runtimes import Prediction, Terms
from serving.runtimes.files import not_loaded, the_model
from serving.runtimes.rows import DIALECT, NUMBER_OR_MISSING, RowColumns, classified, of_two, valued


def load(directory: Path, terms: Terms) -> "LightGBMModel":
    """Load a model. Raises ValidationFailed naming `artifactPath` when there is none or it can't be loaded."""
    path = the_model(directory, ".txt", ".lgb")
    try:
        return LightGBMModel(lightgbm.Booster(model_file=str(path)))
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes it raise
        raise not_loaded(path, error) from None


class LightGBMModel:
    def __init__(self, booster: Any) -> None:
        self._booster = booster
        self.device = "cpu"
        self._threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
        self._objective = str(booster.dump_model(num_iteration=1).get("objective", ""))
        self._columns = RowColumns(booster.num_feature(), _names(booster), NUMBER_OR_MISSING)
        self.input_schema = self._columns.schema
        self.output_schema: dict[str, Any] = {**DIALECT, "title": "prediction", "description": self._objective}

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        rows = np.asarray(self._columns.rows(instances), dtype=np.float64)
        found = self._booster.predict(rows, num_threads=self._threads).tolist()
        match self._objective.partition(" ")[0]:
            case "binary":
                return of_two(found)
            case "multiclass" | "multiclassova":
                return classified(found)
        return valued(found)


def _names(booster: Any) -> tuple[str, ...]:
    """Return the feature names, without those that LightGBM makes up itself."""
    names = tuple(booster.feature_name())
    made_up = tuple(f"Column_{number}" for number in range(len(names)))
    return () if names == made_up else names
