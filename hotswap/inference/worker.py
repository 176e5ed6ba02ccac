"""The part of a worker that answers asynchronous inference: takes what is due, asks the gateway, notes the answer.

Any number of workers may do so, each a few requests at a time. One that dies leaves nothing but leases that run out
(`hotswap/persistence/records/async_inference.py`). What is asked again has the same request id, and if its answer was
recorded and only got lost on the way, it is taken from the record: then nothing is computed, or counted, a second time.
"""

import asyncio
import logging
from datetime import timedelta

from hotswap.domain.errors import AnswerLost, Unavailable
from hotswap.domain.vocabulary import InferenceStatus
from hotswap.inference.gateway import GatewayAnswer, InferenceGateway
from hotswap.persistence.records.async_inference import LEASE, PostgresAsyncInference, Taken

IDLE_SECONDS = 0.5
AWAY_SECONDS = 2.0
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=0.5), timedelta(seconds=30)

logger = logging.getLogger(__name__)


class Answering:
    def __init__(self, waiting: PostgresAsyncInference, gateway: InferenceGateway, *, at_once: int) -> None:
        self._waiting = waiting
        self._gateway = gateway
        self._at_once = at_once
        self._asked: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run until cancelled; while the database is away, wait for it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_leases())
            while True:
                pause = IDLE_SECONDS
                try:
                    await self._waiting.time_out()
                    for taken in await self._waiting.take(self._at_once - len(self._asked)):
                        if taken.request_id in self._asked:  # nobody could renew its lease; now it has a new one
                            continue
                        self._asked[taken.request_id] = group.create_task(self._answer(taken))
                except Exception as error:  # noqa: BLE001 - whatever it is, the worker has other work too
                    logger.warning("asynchronous inference waits", extra={"error": repr(error)[:500]})
                    pause = AWAY_SECONDS
                if len(self._asked) >= self._at_once:
                    await asyncio.wait(set(self._asked.values()), return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(pause)

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 4)
            if not self._asked:
                continue
            try:
                await self._waiting.renew(set(self._asked))
            except Exception as error:  # noqa: BLE001 - a lease that isn't renewed runs out
                logger.warning("leases are not renewed", extra={"error": repr(error)[:500]})

    async def _answer(self, taken: Taken) -> None:
        try:
            if taken.attempt > 1 and (known := await self._waiting.recorded(taken)) is not None:
                await self._waiting.finish(taken.request_id, InferenceStatus.COMPLETED, known)
                return
            try:
                answer = await self._ask(taken)
            except Unavailable as error:
                logger.info("is asked again", extra={"request_id": taken.request_id, "error": error.message})
                await self._waiting.give_back(taken.request_id, _wait(taken, error))
                return
            status = InferenceStatus.COMPLETED if answer.is_prediction else InferenceStatus.FAILED
            await self._waiting.finish(taken.request_id, status, answer.body)
        except (Unavailable, OSError) as error:
            # The database is away, and the lease runs out; or the time is over, since TimeoutError is an OSError.
            logger.warning("is left", extra={"request_id": taken.request_id, "error": type(error).__name__})
        except Exception:  # of one request; the worker also has deployments to bring to their ends
            logger.exception("is left", extra={"request_id": taken.request_id})
        finally:
            self._asked.pop(taken.request_id, None)

    async def _ask(self, taken: Taken) -> GatewayAnswer:
        """Ask the gateway. Raises Unavailable where it should be asked again, and TimeoutError when time is over."""
        async with asyncio.timeout(taken.seconds_left):
            path = f"{taken.model}/batch" if taken.is_batch else taken.model
            return await self._gateway.ask(taken.request_id, path, taken.body, taken.headers)


def _wait(taken: Taken, error: Unavailable) -> timedelta:
    """Return how long to wait before asking again: by then a replica's record can be found."""
    wait: timedelta = min(FIRST_WAIT * 2 ** min(taken.attempt - 1, 10), LONGEST_WAIT)
    return max(wait, LEASE) if isinstance(error, AnswerLost) else wait
