"""Packages that a version needs beyond what is installed: resolved once to exact versions, and brought by pip.

Wheels only: to build a package is to run its code, and a registration runs none outside of the inspecting process. pip
asks the index that this machine's own configuration names. In Ray the exact versions become a `runtime_env`.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.utils import canonicalize_name

from hotswap.domain.errors import ValidationFailed
from hotswap.schemas.requirements import checked
from serving.children import run_child

SECONDS = 300.0
MOST_LISTED_BYTES = 100_000
_OURS = frozenset({"ray", "hotswap"})
"""The packages that a replica itself is made of."""
_OPTIONS = ("--disable-pip-version-check", "--no-input", "--quiet", "--only-binary", ":all:")
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")


async def resolve(requirements: Sequence[str]) -> tuple[str, ...]:
    """Return `name==version` of all packages that would have to be installed; nothing is installed.

    Raises ValidationFailed naming `requirements` where they can't be resolved.
    """
    asked = [str(checked(each)) for each in requirements]
    report = await _pip("--dry-run", "--report", "-", *_OPTIONS, "--", *asked)
    found = [each["metadata"] for each in json.loads(report)["install"]]
    for each in found:
        if canonicalize_name(each["name"]) in _OURS:
            raise ValidationFailed.of(
                "requirements", f"they would replace {each['name']} by {each['version']}, which replicas run on"
            )
    return tuple(sorted(f"{canonicalize_name(each['name'])}=={each['version']}" for each in found))


async def install(pins: Sequence[str], into: Path) -> None:
    """Install exactly these into a folder for PYTHONPATH. Raises ValidationFailed naming `requirements`."""
    await _pip("--target", str(into), "--no-deps", *_OPTIONS, "--", *pins)


def said_by(directory: Path) -> tuple[str, ...]:
    """Return what `requirements.txt` beside an `MLmodel` asks for; MLflow itself is not needed to serve."""
    found = []
    for path in sorted(directory.rglob("MLmodel"))[:1]:
        listed = path.with_name("requirements.txt")
        if listed.is_file() and listed.stat().st_size < MOST_LISTED_BYTES:
            for line in listed.read_text(errors="replace").splitlines():
                try:
                    requirement = checked(line.partition("#")[0].strip())
                except ValidationFailed:
                    continue
                if not canonicalize_name(requirement.name).startswith("mlflow"):
                    found.append(str(requirement))
    return tuple(found)


def lacking(requirements: Sequence[str]) -> list[str]:
    """Return those of these requirements that the installed packages don't meet, with what is installed."""
    found = []
    for each in map(checked, requirements):
        try:
            installed = version(each.name)
        except PackageNotFoundError:
            found.append(f"{each} (not installed)")
        else:
            if not each.specifier.contains(installed, prereleases=True):
                found.append(f"{each} ({installed} is installed)")
    return found


async def _pip(*arguments: str) -> bytes:
    environment = {
        name: value for name, value in os.environ.items() if name in (*_PASSED_ON, *_PROXIES) or name.startswith("PIP_")
    }
    command = (sys.executable, "-P", "-m", "pip", "install", *arguments)
    try:
        child = await run_child(*command, seconds=SECONDS, cwd=Path("/"), environment=environment)
    except TimeoutError:
        raise ValidationFailed.of("requirements", f"pip took longer than {SECONDS:g} s with them") from None
    if child.status != 0:
        said = child.errors.decode(errors="replace").splitlines()
        lines = [line.removeprefix("ERROR: ") for line in said if line.strip()]
        raise ValidationFailed.of("requirements", f"pip can't install them: {'; '.join(lines[-3:])[:600]}")
    return child.output
