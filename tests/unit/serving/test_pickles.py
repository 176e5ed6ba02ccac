"""Pickles are refused with the opcode that would run code; what only looks like one is not."""

import contextlib
import io
import os
import pickle
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_name_that_the_pickle_remembers_is_told(tmp_path: Path) -> None:
    """Since protocol 4 a text is written once, and taken from the memo when it is meant again."""
    (tmp_path / "model.pkl").write_bytes(
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x04json\x94\x8c\x05dumps\x94000h\x00h\x01\x93."
    )
    with pytest.raises(ValidationFailed, match=r"STACK_GLOBAL at byte \d+ \(os\.system\)"):
        refuse_pickles(tmp_path)


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in members:
            package.writestr(name, content)
    return file.getvalue()


TENSOR = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00ctorch\nFloatStorage\nq\x01c__torch__.Net\nNet\nq\x02R."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model.pt", "model.zip", "weights.bin"])
def test_pickles_within_archives_are_found_and_named(tmp_path: Path, name: str, protocol: int) -> None:
    hostile = pickle.dumps(Hostile(), protocol)
    (tmp_path / name).write_bytes(zipped(("model/version", b"3"), ("model/data.pkl", hostile)))
    with pytest.raises(
        ValidationFailed,
        match=rf"{name}!model/data\.pkl is a pickle, whose opcode \w*GLOBAL at byte \d+ \(\w+\.system\)",
    ):
        refuse_pickles(tmp_path)


def test_pickles_in_archives_within_archives_are_found(tmp_path: Path) -> None:
    inner = zipped(("model/data.pkl", pickle.dumps(Hostile())))
    (tmp_path / "model.pt2").write_bytes(zipped(("data/sample_inputs/model.pt", inner)))
    with pytest.raises(ValidationFailed, match=r"model\.pt2!data/sample_inputs/model\.pt!model/data\.pkl is a pickle"):
        refuse_pickles(tmp_path)
    deep = inner
    for _ in range(4):
        deep = zipped(("a.zip", deep))
    (tmp_path / "model.pt2").write_bytes(deep)
    with pytest.raises(ValidationFailed, match="which are not looked into"):
        refuse_pickles(tmp_path)


def test_what_pytorch_names_in_its_archives_is_let_by_there_alone(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(zipped(("model/data.pkl", TENSOR)))
    refuse_pickles(tmp_path)
    (tmp_path / "model.pkl").write_bytes(TENSOR)
    with pytest.raises(ValidationFailed, match=r"model\.pkl is a pickle, whose opcode GLOBAL at byte 2 \(torch"):
        refuse_pickles(tmp_path)


def test_names_of_tensors_do_not_hide_what_is_taken_from_the_memo(tmp_path: Path) -> None:
    hidden = (
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v20000h\x00h\x01\x93."
    )
    (tmp_path / "model.pt").write_bytes(zipped(("model/data.pkl", hidden)))
    with pytest.raises(ValidationFailed, match="STACK_GLOBAL"):
        refuse_pickles(tmp_path)


@pytest.mark.parametrize("name", ["arrays.npy", "arrays.npz"])
def test_an_array_of_objects_is_a_pickle_and_one_of_numbers_is_not(tmp_path: Path, name: str) -> None:
    save = np.save if name.endswith(".npy") else np.savez_compressed
    save(tmp_path / name, np.ones((3, 3)))
    refuse_pickles(tmp_path)
    save(tmp_path / name, np.array([Hostile()], dtype=object))
    with pytest.raises(ValidationFailed, match=rf"{name}.*is a pickle, whose opcode \w*GLOBAL at byte"):
        refuse_pickles(tmp_path)
    save(tmp_path / name, np.array([[1], {}], dtype=object))
    with pytest.raises(ValidationFailed, match=r"is a pickle|is an array of Python objects"):
        refuse_pickles(tmp_path)


def test_an_archive_that_can_not_be_looked_into_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(("model/data.pkl", b"x" * 50)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # encrypted
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises(ValidationFailed, match="can't be looked into"):
        refuse_pickles(tmp_path)


@given(
    beginning=st.sampled_from([b"", b"\x80\x04", b"\x93NUMPY", b"PK\x03\x04", TENSOR, zipped(("data.pkl", TENSOR))]),
    rest=st.binary(max_size=200),
    name=st.sampled_from(["model.pkl", "model.pt", "model.npy", "model.bin"]),
)
def test_whatever_is_there_is_let_by_or_refused(beginning: bytes, rest: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / name).write_bytes(beginning + rest)
        with contextlib.suppress(ValidationFailed):
            refuse_pickles(Path(place))
