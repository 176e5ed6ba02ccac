"""The file of an artifact that holds the model."""

from pathlib import Path

from hotswap.domain.errors import ValidationFailed

_BESIDE = frozenset({"golden.json", "labelled.json", "requirements.txt", "python_env.yaml", "conda.yaml"})
"""Files that lie beside a model and could be taken for one by their ending."""


def the_model(directory: Path, *suffixes: str) -> Path:
    """The only file below with one of these endings. Raises ValidationFailed naming `artifactPath`."""
    found = [each for each in sorted(directory.rglob("*")) if each.suffix in suffixes and each.name not in _BESIDE]
    if len(found) != 1:
        wanted = " or ".join(suffixes)
        raise ValidationFailed.of("artifactPath", f"the archive must hold one {wanted} file; it holds {len(found)}")
    return found[0]


def not_loaded(path: Path, error: Exception) -> ValidationFailed:
    """Runtimes raise what they like on a hostile file; what they say is shown."""
    return ValidationFailed.of("artifactPath", f"{path.name} can't be loaded: {str(error)[:500]}")
