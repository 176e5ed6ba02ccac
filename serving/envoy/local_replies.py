"""The answers that Envoy makes itself: in HotSwap's error format, and for the Open Inference Protocol in its own. Pure.

None of them tells Envoy's inner reasons, and each says what the client can do.
"""

from serving.envoy.config import Json
from serving.envoy.limits import MOST_REQUEST_BYTES
from serving.envoy.open_inference import ANY_PATH

MOST_PATH = 200
"""The most characters of an unknown path that are told."""

_SAID: dict[int, tuple[str, str]] = {
    400: ("VALIDATION_ERROR", "this is not a request that HotSwap takes: its path or headers are malformed"),
    401: ("UNAUTHORIZED", "a valid bearer token is needed; it is missing, expired or not for HotSwap"),
    403: ("FORBIDDEN", "this token has no role that may infer, or another audience"),
    404: ("%ROUTE_NAME%", f"%LOCAL_REPLY_BODY%: %REQ(:PATH):{MOST_PATH}%"),
    405: ("METHOD_NOT_ALLOWED", "%LOCAL_REPLY_BODY%"),
    408: ("REQUEST_TIMEOUT", "the request did not arrive in time; nothing of it was done"),
    413: ("VALIDATION_ERROR", f"the body is larger than {MOST_REQUEST_BYTES // 1024**2} MiB"),
    415: ("VALIDATION_ERROR", "%LOCAL_REPLY_BODY%"),
    429: ("RATE_LIMIT_EXCEEDED", "there is a limit to a caller's requests a second; wait a second"),
    431: ("VALIDATION_ERROR", "there are too many headers, or they are too long"),
    501: ("VALIDATION_ERROR", "this is no transfer encoding that HotSwap takes; chunked is"),
    502: ("SERVICE_UNAVAILABLE", "what should have answered this broke off; try again"),
    503: ("SERVICE_UNAVAILABLE", "nothing that could answer this is ready; try again"),
    504: ("SERVICE_UNAVAILABLE", "no answer came in time; try again"),
}
"""Code and message, by status."""


def local_replies() -> Json:
    """Return the mappers; Envoy takes the first one that matches."""
    is_open = {"header_filter": {"header": {"name": ":path", "string_match": {"safe_regex": {"regex": ANY_PATH}}}}}
    in_the_protocol = [
        _reply({"and_filter": {"filters": [_status(status), is_open]}}, message)
        for status, (_, message) in _SAID.items()
    ]
    return {
        "mappers": [
            *in_the_protocol,
            *(_reply(_status(status), _told(code, message)) for status, (code, message) in _SAID.items()),
        ]
    }


def _status(status: int) -> Json:
    value = {"default_value": status, "runtime_key": f"hotswap.reply.{status}"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _told(code: str, message: str) -> Json:
    return {
        "code": code,
        "message": message,
        "details": [],
        "traceId": "%REQ(X-REQUEST-ID)%",
        "timestamp": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    }


def _reply(where: Json, error: Json | str) -> Json:
    body = {"json_format": {"error": error}, "content_type": "application/json"}
    return {"filter": where, "body_format_override": body}
