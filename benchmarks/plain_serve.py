"""The same model as Ray Serve's documentation would serve it: a deployment with a session, behind Serve's own proxy.

A Ray of its own in a process of its own, since HotSwap's has no proxy in the way. It is given what HotSwap's replica
is: one thread for the model and as many requests at once; all else is Ray's default. It is run as `python -m
benchmarks.plain_serve MODEL PORT` and says `ready` once it answers.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotswap.domain.application import ReplicaResources
from tests.fixtures.ports import free_base


@contextmanager
def plain_serve(archive: Path) -> Iterator[int]:
    """Yield the port of a proxy that serves the archive's model at `/`."""
    port = free_base()
    with tempfile.TemporaryDirectory(prefix="plain-") as place:
        with tarfile.open(archive) as packed:
            packed.extract("model.onnx", place, filter="data")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "HOTSWAP_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.plain_serve", str(Path(place) / "model.onnx"), str(port)],
            env={**environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not any(line.strip() == "ready" for line in process.stdout):
                raise RuntimeError("the plain Ray Serve did not start")
            yield port
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    import numpy as np
    import onnxruntime as ort
    import ray
    from ray import serve
    from starlette.requests import Request

    model, port = sys.argv[1], int(sys.argv[2])

    @serve.deployment(max_ongoing_requests=ReplicaResources().max_ongoing_requests)
    class Classifier:
        def __init__(self) -> None:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = ort.InferenceSession(model, options)
            self.input = self.session.get_inputs()[0].name

        async def __call__(self, request: Request) -> dict[str, float]:
            asked = await request.json()
            features = np.array([asked["features"]], dtype=np.float32)
            labels, probabilities = self.session.run(None, {self.input: features})
            return {"prediction": int(labels[0]), "confidence": float(probabilities[0].max())}

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Classifier.bind())  # type: ignore[attr-defined]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
