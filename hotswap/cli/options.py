"""Reading what was typed: JSON in an option, or in a file named by `@path`."""

import json
from pathlib import Path
from typing import Any

import typer


def json_object(text: str, *, name: str) -> dict[str, Any]:
    """Raises BadParameter (exit code 2) naming the option."""
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise typer.BadParameter(f"{name}: can't read {text[1:]}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f"{name}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{name}: must be a JSON object, such as '{{\"canaryPercentage\": 10}}'")
    return value
