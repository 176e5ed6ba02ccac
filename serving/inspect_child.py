"""The process that loads an untrusted artifact: `python -m serving.inspect_child FRAMEWORK DIRECTORY BYTES TERMS`.

The bytes are what its memory may take, the terms (JSON) on what the model may be loaded.

Prints one line of JSON: what the model is, how its golden requests went, how quick it is and how accurate on the
sample that came with it, or {"problem", "field"}.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hotswap.domain.contract import OUTPUTS
from hotswap.domain.errors import HotSwapError, ValidationFailed
from hotswap.domain.vocabulary import Framework
from serving.golden import attempt, golden_requests, made_up_request, problem_of
from serving.open_inference.signature import Signature
from serving.runtimes import LoadedModel, Prediction, Terms, load
from serving.sample import labelled_sample, latency_ms, score
from serving.schemas import FeatureSchema


def main() -> None:
    framework, directory, memory = Framework(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    # Address space is more than what is resident: libraries alone map 2 GiB, so they come on top.
    limit = memory + 4 * 1024**3
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(look(framework, directory, Terms(**json.loads(sys.argv[4])))))  # noqa: T201 - this is its answer


def look(framework: Framework, directory: Path, terms: Terms) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        model = load(framework, directory, terms)
        loaded = time.monotonic() - begun
        golden = golden_requests(directory)
        sample = labelled_sample(directory)
        requests = golden or [made_up_request(model.input_schema)]
    except ValidationFailed as problem:
        detail = problem.details[0]
        return {"problem": detail.message, "field": detail.field}
    schema = FeatureSchema(model.input_schema)
    trials = [attempt(model, schema, request, allows_non_finite=True) for request in requests]
    well = [trial.answer for trial in trials if trial.problem is None and trial.answer is not None]
    non_finite = list(filter(None, map(problem_of, well)))
    answered = all(trial.problem is None for trial in trials)
    scored = score(model, schema, sample)
    return {
        "inputSchema": model.input_schema,
        "outputSchema": {**model.output_schema, **outputs(model, framework, [trial.answer for trial in trials])},
        "loadSeconds": loaded,
        "golden": len(golden),
        "problems": [trial.problem for trial in trials if trial.problem is not None],
        "nonFinite": non_finite,
        "latencyMs": latency_ms(model, requests) if answered else None,
        "sample": asdict(scored),
        "memoryBytes": peak_memory(),
    }


def outputs(model: LoadedModel, framework: Framework, answers: Sequence[Prediction | None]) -> dict[str, Any]:
    """Return the tensors of its answers, which clients of the Open Inference Protocol name.

    There are none if it has answered nothing. Custom code may answer another kind of number each time, so of that only
    the names are kept.
    """
    given = [answer for answer in answers if answer is not None]
    if not given:
        return {}
    signature = Signature(model, model.input_schema)
    try:
        signature.learn(given)
    except (HotSwapError, ValueError, TypeError):  # an answer that is no tensor
        return {}
    found = signature.described()
    is_known = framework is not Framework.CUSTOM
    return {OUTPUTS: found if is_known else [{"name": each["name"]} for each in found]}


def peak_memory() -> int:
    """Return the peak of resident bytes, libraries included. `getrusage` won't do: it remembers the parent's peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
