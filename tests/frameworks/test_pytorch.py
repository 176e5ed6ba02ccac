"""PyTorch's graphs, really trained, exported and asked; and what such a file may not hold, since PyTorch trusts it."""

import importlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.golden import attempt, made_up_request
from serving.runtimes import Terms, load
from serving.schemas import FeatureSchema
from tests.fixtures.models import problem_of
from tests.frameworks.test_mlflow import described

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make install-frameworks")
if TYPE_CHECKING:  # mypy doesn't read PyTorch, and refuses a base class that it knows nothing of
    Module = object
    Tensor = Any
else:
    Module = torch.nn.Module
    Tensor = torch.Tensor
build_intlist = importlib.import_module("torch.jit._pickle").build_intlist
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript is, by PyTorch itself

ROWS = np.random.default_rng(0).random((64, 3)).astype(np.float32)
AMOUNT = ROWS @ np.array([[1.0], [2.0], [3.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def trained() -> Any:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    rows, amount = torch.from_numpy(ROWS), torch.from_numpy(AMOUNT)
    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(rows), amount)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    return network.eval()


def exported(network: Any, place: Path, *, batch: int | None = None) -> Path:
    example = torch.zeros(batch or 4, 3)
    shapes = None if batch else {"input": {0: torch.export.Dim("batch")}}
    torch.export.save(
        torch.export.export(network, (example,), dynamic_shapes=[*shapes.values()] if shapes else None), place
    )
    return place


def scripted(network: Any, place: Path) -> Path:
    torch.jit.save(torch.jit.trace(network, torch.zeros(4, 3)), place)
    return place


def expected(network: Any) -> list[float]:
    with torch.inference_mode():
        return [row[0] for row in network(torch.from_numpy(ROWS)).tolist()]


@pytest.mark.parametrize(("save", "name"), [(exported, "model.pt2"), (scripted, "model.pt")])
def test_a_trained_network_answers_as_it_did_in_training(
    tmp_path: Path, trained: Any, save: Callable[..., Path], name: str
) -> None:
    save(trained, tmp_path / name)
    model = load(Framework.PYTORCH, tmp_path)
    assert [each.value for each in model.predict(ROWS.tolist())] == pytest.approx(expected(trained), rel=1e-5)
    assert model.device == "cpu"
    assert problem_of(model, [1, 2.5, 3]) is None
    assert problem_of(model, [1, "two", 3]) == "features[1]"
    assert problem_of(model, [1, 1e39, 3]) == "features[1]"


def test_an_exported_program_says_which_sizes_it_takes(tmp_path: Path, trained: Any) -> None:
    exported(trained, tmp_path / "model.pt2")
    model = load(Framework.PYTORCH, tmp_path)
    assert problem_of(model, [1, 2]) == "features"
    assert attempt(model, FeatureSchema(model.input_schema), made_up_request(model.input_schema)).problem is None


@pytest.mark.parametrize("batch", [1, 8])
def test_a_program_for_one_instance_answers_batches_and_one_for_eight_is_refused(
    tmp_path: Path, trained: Any, batch: int
) -> None:
    exported(trained, tmp_path / "model.pt2", batch=batch)
    if batch == 1:
        found = load(Framework.PYTORCH, tmp_path).predict(ROWS[:5].tolist())
        assert [each.value for each in found] == pytest.approx(expected(trained)[:5], rel=1e-5)
    else:
        with pytest.raises(ValidationFailed, match="takes batches of 8 only"):
            load(Framework.PYTORCH, tmp_path)


class Sum(Module):
    def forward(self, amount: Any, counts: Any) -> Any:
        return {"total": amount + counts.sum(dim=1).to(torch.float32), "other": amount}


def test_several_inputs_are_an_object_by_name_and_the_first_output_answers(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Sum(),
        (torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64)),
        dynamic_shapes={"amount": {0: batch}, "counts": {0: batch}},
    )
    torch.export.save(program, tmp_path / "model.pt2")
    model = load(Framework.PYTORCH, tmp_path)
    features = {"amount": 0.5, "counts": [1, 2]}
    assert problem_of(model, features) is None
    assert problem_of(model, {**features, "counts": [1, 2.5]}) == "features.counts[1]"
    assert [each.value for each in model.predict([features, features])] == [3.5, 3.5]


def test_a_gpu_is_taken_only_where_there_is_one(tmp_path: Path, trained: Any) -> None:
    exported(trained, tmp_path / "model.pt2")
    model = load(Framework.PYTORCH, tmp_path, Terms(gpu=True))
    assert model.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert model.predict(ROWS[:1].tolist())[0].value == pytest.approx(expected(trained)[0], rel=1e-4)


@pytest.mark.parametrize(("save", "name"), [(exported, "model.pt2"), (scripted, "model.pth")])
def test_mlflows_flavor_is_served_and_its_tensors_say_what_a_script_takes(
    tmp_path: Path, trained: Any, save: Callable[..., Path], name: str
) -> None:
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}
    data = described(tmp_path, "pytorch", "model_data: data\n    pytorch_version: 2.13.0", [tensor]) / "data"
    data.mkdir()
    save(trained, data / name)
    model = load(Framework.PYTORCH, tmp_path)
    assert problem_of(model, [1, 2]) == "features"
    assert model.predict(ROWS[:1].tolist())[0].value == pytest.approx(expected(trained)[0], rel=1e-5)


# --- what doesn't get through -----------------------------------------------------------------------------------------


class Calls:
    def __init__(self, function: Any = print, argument: Any = "this ran") -> None:
        self.called = (function, (argument,))

    def __reduce__(self) -> Any:
        return self.called


class Reads(Module):
    def forward(self, x: Tensor) -> Tensor:  # of these TorchScript knows the type
        return x + torch.from_file("/etc/passwd", shared=False, size=4).sum()


def changed(place: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Write an archive's members anew."""
    with zipfile.ZipFile(place) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_an_archive_that_is_written_anew_is_loaded_as_before(tmp_path: Path, trained: Any) -> None:
    changed(exported(trained, tmp_path / "model.pt2"), lambda _, content: content)
    assert len(load(Framework.PYTORCH, tmp_path).predict(ROWS[:2].tolist())) == 2


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        (Calls(), r"model\.pt!archive/data\.pkl is a pickle, whose opcode GLOBAL at byte \d+ \(__builtin__\.print\)"),
        (Calls(build_intlist, [1]), "more than tensors: a pickle"),
    ],
    ids=["function", "of TorchScript's"],
)
def test_pickled_sample_inputs_run_nothing(
    tmp_path: Path, trained: Any, capsys: pytest.CaptureFixture[str], calls: Calls, why: str
) -> None:
    buffer = io.BytesIO()
    torch.save(((calls,), {}), buffer)
    place = exported(trained, tmp_path / "model.pt2")
    changed(place, lambda name, content: buffer.getvalue() if "sample_inputs" in name else content)
    with pytest.raises(ValidationFailed, match=why):
        load(Framework.PYTORCH, tmp_path)
    assert "this ran" not in capsys.readouterr().out


def graph_with(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def written(name: str, content: bytes) -> bytes:
        if not ("/models/" in name and name.endswith(".json")):
            return content
        change(graph := json.loads(content))
        return json.dumps(graph).encode()

    return written


def calling(target: str) -> Callable[[str, bytes], bytes]:
    def change(graph: dict[str, Any]) -> None:
        graph["graph_module"]["graph"]["nodes"][0]["target"] = target

    return graph_with(change)


def size(expression: str) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content.replace(b"Symbol(", f"{expression}Symbol(".encode())


def renamed(name: str, content: bytes) -> bytes:
    return content.replace(b'"input"', b"\"input=print('this ran')\"") if "/models/" in name else content


def pickled_weights(name: str, content: bytes) -> bytes:
    return content.replace(b'"use_pickle":false', b'"use_pickle":true').replace(
        b'"use_pickle": false', b'"use_pickle": true'
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (calling("torch.os.system"), "calls torch.os.system"),
        (calling("torch.ops.aten.from_file.default"), "calls torch.ops.aten.from_file"),
        (calling("_operator.methodcaller"), "calls _operator.methodcaller"),
        (calling("#aoti.op"), "calls #aoti.op"),
        (size("__import__('os').getpid()*"), "as expr_str"),
        (size("x.__class__*"), "as expr_str"),
        (renamed, r"input=print\('this ran'\)"),
        (pickled_weights, "has pickled tensors"),
    ],
    ids=["function", "file", "caller", "extension", "import", "attribute", "name", "pickle"],
)
def test_what_is_more_than_operations_of_tensors_is_refused_before_it_is_read(
    tmp_path: Path, trained: Any, change: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(exported(trained, tmp_path / "model.pt2"), change)
    with pytest.raises(ValidationFailed, match=why) as refused:
        load(Framework.PYTORCH, tmp_path)
    assert refused.value.details[0].field == "artifactPath"
    assert "this ran" not in capsys.readouterr().out


def test_a_member_that_no_graph_needs_is_refused(tmp_path: Path, trained: Any) -> None:
    place = exported(trained, tmp_path / "model.pt2")
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("model/data/constants/custom_obj_0", b"anything")
    with pytest.raises(ValidationFailed, match="custom_obj_0', which no graph needs"):
        load(Framework.PYTORCH, tmp_path)


@pytest.mark.parametrize("name", ["model.pt", "model.pth"])
@pytest.mark.parametrize("whole", [True, False], ids=["module", "weights"])
def test_a_checkpoint_is_refused_with_what_to_do(tmp_path: Path, trained: Any, name: str, whole: bool) -> None:
    torch.save(trained if whole else trained.state_dict(), tmp_path / name)
    why = "is a pickle, whose opcode GLOBAL" if whole else "is no TorchScript: save it by torch.jit.save or"
    with pytest.raises(ValidationFailed, match=why):
        load(Framework.PYTORCH, tmp_path)


def test_a_script_that_reads_files_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Reads()), tmp_path / "model.pt")
    with pytest.raises(ValidationFailed, match="has the operation from_file"):
        load(Framework.PYTORCH, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("save", "name"), [(exported, "model.pt2"), (scripted, "model.pt")])
@pytest.mark.parametrize("spelt", [str, str.upper], ids=["same", "other case"])
def test_two_members_of_one_name_are_refused(
    tmp_path: Path, trained: Any, save: Callable[..., Path], name: str, spelt: Callable[[str], str]
) -> None:
    """PyTorch would read the one, and we the other."""
    place = save(trained, tmp_path / name)
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr(spelt(next(each for each in archive.namelist() if each.endswith((".py", ".json")))), b"")
    with pytest.raises(ValidationFailed, match=r"two members of the name .*\.(py|json)'"):
        load(Framework.PYTORCH, tmp_path)


@pytest.mark.parametrize("spelt", [str.upper, lambda name: name.replace("/code/", "/Code/")], ids=["all", "folder"])
def test_a_script_that_reads_files_is_refused_however_its_members_are_spelt(
    tmp_path: Path, spelt: Callable[[str], str]
) -> None:
    """PyTorch finds them whatever their case."""
    torch.jit.save(torch.jit.script(Reads()), place := tmp_path / "model.pt")
    with zipfile.ZipFile(place) as archive:
        members = [(spelt(name) if name.endswith(".py") else name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    with pytest.raises(ValidationFailed, match="has the operation from_file"):
        load(Framework.PYTORCH, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"[" * 1000])
@pytest.mark.parametrize("name", ["model.pt", "model.pt2"])
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValidationFailed, match=r"none of PyTorch's archives"):
        load(Framework.PYTORCH, tmp_path)
