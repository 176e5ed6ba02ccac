"""The file of an artifact that holds the model."""

from pathlib import Path

from hotswap.domain.errors import ValidationFailed

_BESIDE = frozenset({"golden.json", "labelled.json", "requirements.txt", "python_env.yaml", "conda.yaml"})
"""Files that lie beside a model and could be taken for one by their ending."""


def the_model(place: Path, *wanted: str) -> Path:
    """Return the only file of these endings or names in a directory, or the file itself.

    Raises ValidationFailed naming `artifactPath`.
    """
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    found = [each for each in files if {each.suffix, each.name} & {*wanted} and each.name not in _BESIDE]
    if len(found) != 1:
        raise ValidationFailed.of(
            "artifactPath", f"the archive must hold one {' or '.join(wanted)} file; it holds {len(found)}"
        )
    return found[0]


def not_loaded(path: Path, error: Exception) -> ValidationFailed:
    """Return the error of a file that can't be loaded, with the runtime's own text.

    Runtimes raise any exception on a hostile file.
    """
    return ValidationFailed.of("artifactPath", f"{path.name} can't be loaded: {str(error)[:500]}")
