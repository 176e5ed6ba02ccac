"""A process of ours from its start to its end: with its log, by its settings, until SIGTERM and then no longer."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine

from anyio import CancelScope

from hotswap.settings import SettingsError, SettingsT, load
from hotswap.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)


def run_service(
    part: str, settings: type[SettingsT], serve: Callable[[SettingsT], Coroutine[object, object, None] | None]
) -> None:
    """Run one of HotSwap's processes by its settings until it ends; `serve` may bring an event loop of its own.

    A setting that is missing or wrong ends it with EX_CONFIG (78) and one line that names the setting, so that whoever
    supervises it need not start it again.
    """
    configure_logging(part)
    try:
        running = serve(load(settings))
        if running is not None:
            asyncio.run(running)
    except SettingsError as error:
        logger.error("%s", error)
        sys.exit(os.EX_CONFIG)


async def until_terminated(work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` until SIGTERM cancels it, or until it ends.

    A scope cancels again until it is heard, and redis-py loses one cancel in some twenty-five; a task would go on.
    """
    with CancelScope() as scope:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, scope.cancel)
        await work()
