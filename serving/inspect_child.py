"""The process that loads an untrusted artifact: `python -m serving.inspect_child FRAMEWORK DIRECTORY MEMORY_BYTES`.

Prints one line of JSON: what the model is and how its golden requests went, or {"problem", "field"}.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import Framework
from serving.runtimes import Model, golden_requests, load


def main() -> None:
    framework, directory, memory = Framework(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    # Address space is more than what is resident: libraries alone map 2 GiB, so they come on top.
    limit = memory + 4 * 1024**3
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(look(framework, directory)))  # noqa: T201 - this is its answer


def look(framework: Framework, directory: Path) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        model = load(framework, directory)
        loaded = time.monotonic() - begun
        golden = [{"problem": answer_problem(model, request)} for request in golden_requests(directory)]
    except ValidationFailed as problem:
        detail = problem.details[0]
        return {"problem": detail.message, "field": detail.field}
    return {
        "inputSchema": model.input_schema,
        "outputSchema": model.output_schema,
        "loadSeconds": loaded,
        "golden": golden,
        "memoryBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def answer_problem(model: Model, request: GoldenRequest) -> str | None:
    """What is wrong with the model's answer to a golden request, or None."""
    try:
        answer = model.predict([request.features])[0].value
    except Exception as error:  # noqa: BLE001 - a model raises what it likes
        return f"it failed: {str(error)[:300]}"
    if request.prediction is not None and answer != request.prediction:
        return f"it answered {answer!r} where {request.prediction!r} is expected"
    return None


if __name__ == "__main__":
    main()
