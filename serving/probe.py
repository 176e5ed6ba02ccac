"""Asks replicas themselves, on the ports that the proxies will use: implements `hotswap.ports.ReplicaProbe`."""

import asyncio
from collections.abc import Sequence

import httpx

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.errors import ReplicasFailed
from hotswap.process.plain_http import plain_client
from serving.answers import answering, readable


class HttpReplicaProbe:
    async def warm_up(self, spec: ApplicationSpec, targets: Sequence[str]) -> None:
        async with plain_client(timeout=spec.warmup_timeout_seconds) as client:
            await asyncio.gather(*(_warm_up(client, spec, target) for target in targets))


async def _warm_up(client: httpx.AsyncClient, spec: ApplicationSpec, target: str) -> None:
    who = f"the replica of {spec.name} at {target}"
    with answering(who):
        answer = await client.post(f"http://{target}/{spec.name}/warm-up")
    if answer.status_code == httpx.codes.OK:
        with readable(who):
            if answer.json()["version"] == spec.version:
                return
    raise ReplicasFailed(f"{who} is not fit to answer: {answer.text[:500]}")
