"""The look at the capacity: what it makes of a server that is away."""

from typing import Any

import pytest

from hotswap.deployments.capacity import Planner, Wanted
from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import Unavailable
from hotswap.domain.strategy import immediate_steps
from hotswap.domain.vocabulary import Environment

WANTED = Wanted(None, Environment.PRODUCTION, "fraud", "1.0.0", ReplicaResources(), None, immediate_steps())


class Rows:
    def __init__(self, *, is_away: bool) -> None:
        self._is_away = is_away

    async def holdings(self) -> list[Any]:
        if self._is_away:
            raise Unavailable("the database doesn't answer")
        return []

    async def team(self, _model: str) -> None:
        return None


class RayIsAway:
    async def resources(self) -> Any:
        raise Unavailable("Ray's state API doesn't answer")


def planner(rows: Rows) -> Planner:
    return Planner(rows, RayIsAway(), RayIsAway())  # type: ignore[arg-type]


async def test_while_ray_is_away_there_is_no_plan() -> None:
    assert await planner(Rows(is_away=False)).look(WANTED) is None


async def test_while_the_database_is_away_nobody_goes_on_without_a_plan() -> None:
    with pytest.raises(Unavailable, match="database"):
        await planner(Rows(is_away=True)).look(WANTED)
