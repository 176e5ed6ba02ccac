"""Three versions of a real classifier: two good ones, and one that is broken in a way only live traffic shows.

Trained on the Wisconsin diagnostic breast cancer data, which scikit-learn carries. The broken version looks a tumour's
radius up in a table of bands that ends too early: its golden requests have small radii, so it loads, validates and
warms up, and then fails inside the model on every larger one.

What trains is imported where it is used: it takes seconds, which whoever only speaks of trained models need not wait.
"""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BAND_WIDTH = 8.5
BANDS = 2
GOLDEN = 8


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """`requests` are rows of 30 features to send as live traffic; `archives` are the artifacts by version."""

    requests: list[list[float]]
    archives: dict[str, Path]


def train(directory: Path) -> TrainedModels:
    """Train, export and pack all three versions into `directory`."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    rows = data.data.astype(np.float32)
    golden = rows[rows[:, 0] < BAND_WIDTH * BANDS][:GOLDEN]
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)).fit(rows, data.target)
    forest = RandomForestClassifier(n_estimators=20, max_depth=6, random_state=0).fit(rows, data.target)
    deeper = RandomForestClassifier(n_estimators=20, max_depth=9, random_state=0).fit(rows, data.target)
    graphs = {
        "1.0.0": (linear, export(linear, rows)),
        "2.0.0": (forest, export(forest, rows)),
        "3.0.0": (deeper, _with_short_table(export(deeper, rows))),
    }
    archives = {}
    for version, (estimator, graph) in graphs.items():
        answers = [
            {"features": row.tolist(), "prediction": int(label)}
            for row, label in zip(golden, estimator.predict(golden), strict=True)
        ]
        archives[version] = pack(directory / f"tumour-{version}.tar.gz", graph, answers)
    return TrainedModels([row.tolist() for row in rows], archives)


def export(estimator: Any, rows: Any) -> onnx.ModelProto:
    """Return the graph of a fitted scikit-learn estimator that takes rows like these."""
    from skl2onnx import to_onnx

    return to_onnx(estimator, rows[:1], options={"zipmap": False}, target_opset=17)


def _with_short_table(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a table look-up before the classifier: radius over band width is the index, and the table ends too early."""
    graph = model.graph
    (source,) = (node.name for node in graph.input)
    shifted = "shifted"
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == source:
                node.input[position] = shifted
    constants = {
        "first_column": np.array([0], dtype=np.int64),
        "band_width": np.array([BAND_WIDTH], dtype=np.float32),
        "table": np.zeros(BANDS, dtype=np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    lookup = [
        helper.make_node("Gather", [source, "first_column"], ["radius"], axis=1),
        helper.make_node("Div", ["radius", "band_width"], ["ratio"]),
        helper.make_node("Floor", ["ratio"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["band"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "band"], ["offset"]),
        helper.make_node("Add", [source, "offset"], [shifted]),
    ]
    for position, node in enumerate(lookup):
        graph.node.insert(position, node)
    onnx.checker.check_model(model)
    return model


def pack(path: Path, model: onnx.ModelProto, golden: list[dict[str, Any]]) -> Path:
    """Write the artifact that is registered: the graph and its golden requests, as `tar.gz`."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (
            ("model.onnx", model.SerializeToString()),
            ("golden.json", json.dumps(golden).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
