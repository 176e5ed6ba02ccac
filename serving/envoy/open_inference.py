"""The part of the Open Inference Protocol that belongs to no model, and its paths and errors.

Pure. Envoy answers for the server by itself, so that this says how the data loop is, whatever becomes of everything
else. A model's own paths lead to its replicas, by the same routes as the other forms of inference (`routes.py`).
"""

import json
from importlib.metadata import version

from serving.envoy.config import Json
from serving.envoy.tokens import AUTHENTICATED, OPEN_TO_ALL

OPEN = "/v2"
MODELS = f"{OPEN}/models"

_A_MODEL, _QUERY = f"{MODELS}/[^/?]+(/versions/[^/?]+)?", "(\\?.*)?"

A_MODELS_PATH = f"{_A_MODEL}(/infer|/ready)?{_QUERY}"
"""All that replicas are asked for."""

METHODS = {"GET": f"{_A_MODEL}(/ready)?{_QUERY}", "POST": f"{_A_MODEL}/infer{_QUERY}"}
"""The paths of each method."""

ANY_PATH = f"(/[^/]*)?{OPEN}([/?].*)?"
"""Whatever belongs to the protocol, also after it was addressed to an application: then its name stands before it."""


def server_routes(*, is_ready: bool) -> list[Json]:
    """Return the server's routes; only its health is open to everybody."""
    told = {"name": "hotswap", "version": version("hotswap"), "extensions": ["binary_tensor_data"]}
    ready = _told(f"{OPEN}/health/ready", {"ready": True})
    if not is_ready:
        ready["direct_response"] = {"status": 503}
    return [
        _told(f"{OPEN}/health/live", {"live": True}) | {"typed_per_filter_config": OPEN_TO_ALL},
        ready | {"typed_per_filter_config": OPEN_TO_ALL},
        *(_told(path, told) | {"typed_per_filter_config": AUTHENTICATED} for path in (OPEN, f"{OPEN}/")),
    ]


def _told(path: str, what: Json) -> Json:
    json_type = {"key": "content-type", "value": "application/json"}
    return {
        "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
        "direct_response": {"status": 200, "body": {"inline_string": json.dumps(what)}},
        "response_headers_to_add": [{"header": json_type, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }
