"""Single requests gathered into one call: each gets its own answer, whatever its neighbors do."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching import Batcher
from serving.runtimes import Prediction
from tests.fixtures.patience import patient

PATIENT = 3_600.0
"""Seconds that no test waits for."""


class Model:
    """Answers what it is asked, fails a batch that holds something bad, and remembers its batches."""

    def __init__(self, bad: Sequence[int] = ()) -> None:
        self.bad = bad
        self.batches: list[list[Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def predict(self, instances: list[Any]) -> list[Prediction]:
        self.batches.append(instances)
        await self.may_answer.wait()
        if found := set(self.bad) & set(instances):
            raise ValueError(f"{sorted(found)} can't be answered")
        return [Prediction(each, None) for each in instances]


@given(
    number=st.integers(1, 40),
    most=st.integers(2, 9),
    bad=st.sets(st.integers(0, 39), max_size=6),
    left=st.sets(st.integers(0, 39), max_size=6),
)
def test_each_gets_its_own_answer_and_no_batch_is_larger_than_allowed(
    number: int, most: int, bad: set[int], left: set[int]
) -> None:
    async def run() -> None:
        model = Model(sorted(bad))
        batcher = Batcher(model.predict, most=most, wait=0.0)
        futures = [batcher.add(each) for each in range(number)]
        for each in left & set(range(number)):
            futures[each].cancel()
        found = await asyncio.gather(*futures, return_exceptions=True)
        for each, answer in enumerate(found):
            if each in left:
                assert isinstance(answer, asyncio.CancelledError)
                assert not any(each in batch for batch in model.batches), "nobody awaits it"
            elif each in bad:
                assert str(answer) == f"[{each}] can't be answered"
            else:
                assert answer == Prediction(each, None)
        assert all(len(batch) <= most for batch in model.batches)
        if not bad and not left:
            assert len(model.batches) == -(-number // most)

    asyncio.run(run())


async def test_a_full_batch_waits_for_nobody() -> None:
    model = Model()
    batcher = Batcher(model.predict, most=3, wait=PATIENT)
    await asyncio.wait_for(asyncio.gather(*map(batcher.add, range(6))), patient(20))
    assert model.batches == [[0, 1, 2], [3, 4, 5]]


async def test_who_is_alone_waits_no_longer_than_told() -> None:
    model = Model()
    assert await asyncio.wait_for(Batcher(model.predict, most=3, wait=0.01).add(7), patient(20)) == Prediction(7, None)
    assert model.batches == [[7]]


async def test_a_batch_gathers_while_another_is_computed() -> None:
    model = Model()
    model.may_answer.clear()
    batcher = Batcher(model.predict, most=4, wait=0.001)
    first = batcher.add(0)
    while not model.batches:
        await asyncio.sleep(0)
    others = [batcher.add(each) for each in (1, 2, 3)]
    await asyncio.sleep(0.005)
    assert model.batches == [[0]], "one after the other"
    model.may_answer.set()
    await asyncio.wait_for(asyncio.gather(first, *others), patient(20))
    assert model.batches == [[0], [1, 2, 3]]


async def test_one_that_fails_costs_few_calls_more() -> None:
    model = Model([5])
    batcher = Batcher(model.predict, most=64, wait=0.0)
    found = await asyncio.gather(*map(batcher.add, range(64)), return_exceptions=True)
    assert [each for each in found if isinstance(each, Exception)] == [found[5]]
    assert len(model.batches) <= 1 + 2 * 6


async def test_it_answers_again_after_it_had_nothing_to_do() -> None:
    batcher = Batcher(Model().predict, most=2, wait=0.0)
    for each in range(3):
        assert (await batcher.add(each)).value == each
        await asyncio.sleep(0)


@pytest.mark.parametrize("leaves", [0, 1])
async def test_who_leaves_while_it_is_computed_keeps_nobody_from_his_answer(leaves: int) -> None:
    model = Model()
    model.may_answer.clear()
    batcher = Batcher(model.predict, most=2, wait=PATIENT)
    futures = [batcher.add(0), batcher.add(1)]
    while not model.batches:
        await asyncio.sleep(0)
    futures[leaves].cancel()
    model.may_answer.set()
    assert (await asyncio.wait_for(futures[1 - leaves], patient(20))).value == 1 - leaves
