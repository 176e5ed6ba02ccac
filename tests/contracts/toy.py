"""An application as slow as it is asked to be, which Ray Serve runs where a model would be."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ray import serve

from serving.loopback import bind_replica_to_loopback

SECONDS_HEADER = "x-toy-seconds"
PID_HEADER = "x-toy-pid"
Message = dict[str, Any]


class Toy:
    """Answers every request, after the seconds that a header says, with its process's id."""

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        seconds = dict(scope["headers"]).get(SECONDS_HEADER.encode(), b"0")
        await asyncio.sleep(float(seconds))
        body = json.dumps({"path": scope["path"]}).encode()
        headers = [(b"content-type", b"application/json"), (PID_HEADER.encode(), str(os.getpid()).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@serve.deployment(name="Replica")
@serve.ingress(Toy())
class Replica:
    def __init__(self, args: dict[str, Any]) -> None:
        if "broken" in args["name"]:
            raise LookupError(f"{args['name']} has no weights")
        bind_replica_to_loopback()


def build(args: dict[str, Any]) -> serve.Application:
    replica: Any = Replica  # Ray's decorators made it a deployment
    return replica.bind(args)
