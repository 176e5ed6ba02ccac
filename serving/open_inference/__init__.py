"""The Open Inference Protocol, version 2, over HTTP: `/v2`, in JSON and with binary tensors.

KServe's `open-inference-protocol` is the specification, and Triton's "binary tensor data" the extension. A request of n
rows is a batch of n instances: what a model takes and answers is the same as in the other forms, only its spelling is
another. `signature.py` says which tensors a model takes and answers, `tensors.py` reads and writes one, `form.py` a
whole request and its answer. What belongs to no model (`/v2`, `/v2/health/*`) Envoy answers by itself
(`serving/envoy/open_inference.py`).
"""

from serving.open_inference.codec import OpenInference, Resource

__all__ = ["OpenInference", "Resource"]
