"""Testers at the real Envoy: they reach the candidate whatever its weight, and nothing of it is held against it."""

import asyncio
from collections import Counter

import pytest

from hotswap.domain.traffic import Arm
from hotswap.domain.vocabulary import Role
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.envoy import Gateway
from tests.fixtures.traffic import CANDIDATE, STABLE, answered_by, plan, until

TESTER = {"x_hotswap_tester": "true"}


@pytest.mark.usefixtures("upstreams")
async def test_a_tester_reaches_the_candidate_at_weight_0_and_nobody_else_does(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        assert await answered_by(gateway, 40) == {STABLE.application: 40}
        for path in ("fraud", "fraud/batch"):
            answer = await gateway.infer(path, x_hotswap_arm="stable", x_hotswap_chosen_by="weight", **TESTER)
            assert answer.headers["x-hotswap-arm"] == "candidate"
            assert answer.headers["x-hotswap-version"] == CANDIDATE.version
            seen = answer.json()
            assert seen["path"] == f"/{CANDIDATE.application}/api/v1/inference/{path}"
            assert (seen["headers"]["x-hotswap-arm"], seen["headers"]["x-hotswap-chosen-by"]) == ("candidate", "tester")
        for value, arm in (("TRUE", "candidate"), ("false", "stable"), ("", "stable"), ("truely", "stable")):
            assert (await gateway.infer("fraud", x_hotswap_tester=value)).headers["x-hotswap-arm"] == arm, value


@pytest.mark.usefixtures("upstreams")
async def test_without_a_candidate_the_header_means_nothing(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        answer = await gateway.infer("fraud", x_hotswap_chosen_by="tester", **TESTER)
        assert (answer.status_code, answer.headers["x-hotswap-arm"]) == (200, "stable")
        assert answer.json()["headers"]["x-hotswap-chosen-by"] == "weight", "it was answered as any other request"


@pytest.mark.usefixtures("upstreams")
async def test_being_a_tester_opens_no_door(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        for expected, headers in (
            (401, {}),
            (401, {"authorization": "Bearer nonsense"}),
            (403, gateway.token(Role.VIEWER)),
            (403, gateway.token(Role.TRAFFIC_AGENT)),
            (200, gateway.token(Role.DATA_SCIENTIST)),
        ):
            assert (await gateway.infer("fraud", headers, **TESTER)).status_code == expected
        for path, more in (("fraud/warm-up", {}), ("other", {}), ("fraud", {"x_hotswap_environment": "Staging"})):
            assert (await gateway.infer(path, **more, **TESTER)).status_code == 404
        by_version = await gateway.infer("fraud", x_hotswap_version=STABLE.version, **TESTER)
        assert by_version.headers["x-hotswap-arm"] == "stable", "a version that is named is what is asked for"
        assert (await gateway.infer("fraud", x_hotswap_version="9.0.0", **TESTER)).status_code == 404


@pytest.mark.parametrize(("weight", "fallback"), [(0, True), (5_000, True), (5_000, False)])
async def test_what_was_chosen_is_not_counted_for_or_against_anybody(
    gateway: Gateway, bus: RedisTrafficBus, weight: int, fallback: bool
) -> None:
    good, broken = await gateway.upstream("good"), await gateway.upstream("broken", status=500)
    gateway.serve.targets = {STABLE.application: (good.target,), CANDIDATE.application: (broken.target,)}
    async with gateway.agent():
        await gateway.publish(bus, plan(1, weight, fallback=fallback))
        for _ in range(10):
            answer = await gateway.infer("fraud", **TESTER)
            assert (answer.status_code, answer.json()["from"]) == (500, "broken"), "a tester sees what is wrong"
            assert (await gateway.infer("fraud", x_hotswap_version=CANDIDATE.version)).status_code == 500
            assert (await gateway.infer("fraud", x_hotswap_version=STABLE.version)).status_code == 200
        await until(gateway, bus, 20, f"{CANDIDATE.application}+chosen")
        report = await gateway.report(bus)
        assert report is not None
        counted = {name: report.counts[name].completed for name in report.counts if report.counts[name].completed}
        assert counted == {f"{STABLE.application}+chosen": 10, f"{CANDIDATE.application}+chosen": 20}
        answers = [await gateway.infer("fraud") for _ in range(24)]
        assert {answer.status_code for answer in answers} == ({200, 500} if weight and not fallback else {200})
        failed = sum(answer.status_code == 500 or "x-hotswap-fallback" in answer.headers for answer in answers)
        assert (failed > 0) == (weight > 0)
        candidate = await until(gateway, bus, failed, CANDIDATE.application)
        stable = await until(gateway, bus, 24 - failed, STABLE.application)
        by_weight = (candidate.server_errors, stable.completed)
        assert by_weight == (failed, 24 - failed), "what the weight chose is counted as ever"


@pytest.mark.usefixtures("upstreams")
async def test_from_the_acknowledgement_on_no_tester_meets_an_empty_cluster(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    """The agent looks at Ray Serve twice a second, and a plan may be quicker than that."""
    ready = gateway.serve.targets.pop(CANDIDATE.application)
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        for generation in range(2, 7):
            candidate = Arm(f"Production-fraud-{generation}", "2.0.0", f"dep-{generation}")
            gateway.serve.targets[candidate.application] = ready
            await gateway.publish(bus, plan(generation, 0, candidate=candidate))
            answer = await gateway.infer("fraud", **TESTER)
            assert (answer.status_code, answer.headers["x-hotswap-arm"]) == (200, "candidate"), answer.text


@pytest.mark.usefixtures("upstreams")
async def test_testers_lose_no_answer_when_a_candidate_comes_moves_and_goes(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    failed: list[str] = []
    answered: Counter[str] = Counter()
    is_over = asyncio.Event()

    async def test_on() -> None:
        headers = gateway.token(Role.APPLICATION)
        while not is_over.is_set():
            answer = await gateway.infer("fraud", dict(headers), **TESTER)
            if answer.status_code != 200:
                failed.append(answer.text)
            answered[answer.headers.get("x-hotswap-arm", "nobody")] += 1

    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        testers = [asyncio.create_task(test_on()) for _ in range(4)]
        for generation, weight in enumerate([0, 100, 10_000, 0, None] * 8, start=2):
            await gateway.publish(bus, plan(generation, weight))
            await asyncio.sleep(0.02)
        is_over.set()
        await asyncio.gather(*testers)
    assert failed == []
    assert set(answered) == {"stable", "candidate"}
