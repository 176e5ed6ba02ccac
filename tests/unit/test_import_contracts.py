"""`.importlinter` leaves no room out."""

import configparser
import re
from collections import Counter

from tests.fixtures.documents import ROOT

CONTRACTS = configparser.ConfigParser()
CONTRACTS.read(ROOT / ".importlinter")


def test_every_room_is_in_one_layer() -> None:
    layers = CONTRACTS["importlinter:contract:layers"]["layers"]
    packages = CONTRACTS["importlinter"]["root_packages"].split()
    found = [path for path in (ROOT / "hotswap").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    rooms = [f"hotswap.{path.stem}" for path in found if path.stem != "__init__"]
    rooms += [package for package in packages if package != "hotswap"]
    assert Counter(re.findall(r"[\w.]+", layers)) == Counter(rooms)


def test_every_package_is_a_root() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert set(CONTRACTS["importlinter"]["root_packages"].split()) == packages
