"""Answers of a replica: a raw ASGI application over one loaded model.

Raw, because frameworks cost more than a small model does. The engine (`serving/engine.py`) is this process's: it is put
in place by `start` before Ray Serve counts the replica as ready, so no request ever meets a cold model.
"""

import msgspec

from hotswap.domain.errors import HotSwapError, InferenceFailed, MethodNotAllowed, NotFound, ValidationFailed
from serving import request_headers
from serving.asgi import ClientGone, Receive, Scope, Send, lifespan, whole_body
from serving.codecs import MOST_BODY_BYTES, RawHeaders, RequestCodec, RequestHeaders
from serving.engine import Engine, ReplicaAnswer, status_of
from serving.open_inference import Resource

_engine: Engine | None = None


def start(engine: Engine) -> None:
    """Put this process's engine in place, warmed up. Raises InferenceFailed when it isn't fit to answer."""
    global _engine
    engine.warm_up()
    _engine = engine


class InferenceApp:
    """The ASGI object that Ray Serve binds to a replica's own port; it must pickle, so it holds nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            assert _engine is not None
            try:
                status, headers, body = await _respond(_engine, scope, receive)
            except ClientGone:
                return
            length = (b"content-length", str(len(body)).encode())
            await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
            await send({"type": "http.response.body", "body": body})


async def _respond(engine: Engine, scope: Scope, receive: Receive) -> ReplicaAnswer:
    headers = dict(scope["headers"])
    path: str = scope["path"]
    codec: RequestCodec
    if scope["method"] == "POST" and path.endswith(f"/api/v1/inference/{engine.spec.model}"):
        codec = engine.one
    elif scope["method"] == "POST" and path.endswith(f"/api/v1/inference/{engine.spec.model}/batch"):
        codec = engine.batch
    elif (resource := engine.tensors.resource(path)) is Resource.INFER and scope["method"] == "POST":
        codec = engine.tensors
    elif resource is not None:
        return _described(engine, resource, scope, headers)
    elif scope["method"] == "POST" and path == f"/{engine.spec.name}/warm-up":
        return await _warm_up(engine, headers)
    else:
        unknown = NotFound(f"there is no {scope['method']} {path} here")
        return _refused(unknown, engine.one, engine.headers, headers)
    body = await whole_body(receive, most=MOST_BODY_BYTES)
    if body is None:
        too_large = ValidationFailed.of("body", f"larger than {MOST_BODY_BYTES} bytes")
        return 413, engine.headers, codec.refuse(too_large, request_headers.request_id(headers))
    return await engine.infer(body, codec=codec, headers=headers, receive=receive)


def _described(engine: Engine, resource: Resource, scope: Scope, headers: RequestHeaders) -> ReplicaAnswer:
    """Describe the model; it is always ready, since Ray Serve counts no replica that isn't."""
    if scope["method"] == "GET" and (told := engine.tensors.describe(resource)) is not None:
        return 200, engine.headers, told
    wrong = MethodNotAllowed(f"{scope['path']} doesn't take {scope['method']}")
    return _refused(wrong, engine.tensors, engine.headers, headers)


async def _warm_up(engine: Engine, headers: RequestHeaders) -> ReplicaAnswer:
    try:
        told = {"version": engine.spec.version, "golden": await engine.warm_up_aside(), "device": engine.device}
        return 200, engine.headers, msgspec.json.encode(told)
    except InferenceFailed as error:
        return _refused(error, engine.one, engine.headers, headers)


def _refused(error: HotSwapError, codec: RequestCodec, own: RawHeaders, headers: RequestHeaders) -> ReplicaAnswer:
    return status_of(error), own, codec.refuse(error, request_headers.request_id(headers))
