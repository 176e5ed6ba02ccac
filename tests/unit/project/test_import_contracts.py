"""`.importlinter` leaves no room out."""

import configparser
import re
from collections import Counter
from pathlib import Path

from tests.fixtures.documents import ROOT

CONTRACTS = configparser.ConfigParser()
CONTRACTS.read(ROOT / ".importlinter")


def test_every_room_is_in_one_layer() -> None:
    """Whole, or all of its modules one by one."""
    layers = re.findall(r"[\w.]+", CONTRACTS["importlinter:contract:layers"]["layers"])
    roots = set(CONTRACTS["importlinter"]["root_packages"].split()) - {"hotswap"}
    expected = Counter(roots)
    for room in children(ROOT / "hotswap"):
        whole = f"hotswap.{room.stem}"
        expected.update([whole] if whole in layers else [f"{whole}.{part.stem}" for part in children(room)])
    assert Counter(layers) == expected


def children(package: Path) -> list[Path]:
    found = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return [path for path in found if path.stem != "__init__"]


def test_every_package_is_a_root() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert set(CONTRACTS["importlinter"]["root_packages"].split()) == packages
