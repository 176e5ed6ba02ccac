"""A worker as the SDK has it, which ends in bounded time."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker as SdkWorker

logger = logging.getLogger(__name__)


class Worker(SdkWorker):
    """A worker that ends also where the SDK's own doesn't.

    Of some hundred ends of the SDK's own worker one never comes back from its core's last step (seen with 1.35.0, where
    an activity had just been cancelled). All work has been given back by then, so the step is given up `patience` after
    the grace for work in hand.
    """

    patience = timedelta(seconds=10)

    def __init__(self, client: Client, **config: Any) -> None:
        super().__init__(client, plugin_shutdown_timeout=timedelta(seconds=1), **config)

    async def shutdown(self) -> None:
        grace: timedelta = self.config()["graceful_shutdown_timeout"]
        try:
            await asyncio.wait_for(super().shutdown(), (grace + self.patience).total_seconds())
        except TimeoutError:
            logger.warning("Temporal's SDK did not end its worker; left behind", extra={"queue": self.task_queue})
