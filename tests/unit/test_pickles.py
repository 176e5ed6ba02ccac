"""Pickles are refused with the opcode that would run code; what only looks like one is not."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from hotswap.domain.errors import ValidationFailed
from serving.pickles import refuse_pickles


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/hotswap-was-here",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model.pkl", "deep/down/model.joblib", "weights.bin"])
def test_what_would_run_code_is_refused_with_its_opcode(tmp_path: Path, protocol: int, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Hostile(), protocol))
    if protocol < 2 and path.suffix == ".bin":
        return  # the oldest ones look like text, and no framework's loader takes them for a model
    with pytest.raises(
        ValidationFailed, match=rf"{path.name} is a pickle, whose opcode \w*GLOBAL at byte \d+"
    ) as refused:
        refuse_pickles(tmp_path)
    assert "system" in str(refused.value)
    assert refused.value.details[0].field == "artifactPath"


def test_an_honest_object_is_code_as_well(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(OrderedDict(a=1)))
    with pytest.raises(ValidationFailed, match=r"collections.OrderedDict"):
        refuse_pickles(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no pickle", b"x\x9c compressed", b"\x80\x04 cut off"])
def test_an_unreadable_one_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.joblib").write_bytes(content)
    with pytest.raises(ValidationFailed, match="which can't be read as one"):
        refuse_pickles(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.pkl", pickle.dumps({"a": [1, 2.5, "three"]})),
        ("model.onnx", b"\x08\x07\x12\x04test"),
        ("weights.bin", b"\x80\x04 begins like one, and is none"),
        ("notes.txt", b"cos\nsystem\n"),
    ],
)
def test_data_and_other_files_are_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refuse_pickles(tmp_path)
