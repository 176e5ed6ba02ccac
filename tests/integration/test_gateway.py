"""The real Envoy and its agent: what is acknowledged is what Envoy does, and no request is lost on the way."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from redis.asyncio import Redis
from scipy.stats import binom

from hotswap.domain.access import Grant
from hotswap.domain.headers import BACKTEST_HEADER, UNREAD_HEADERS
from hotswap.domain.traffic import TOTAL_WEIGHT, ProxyReport, TrafficPlan, total_counts
from hotswap.domain.vocabulary import Role
from hotswap.traffic.bus import PLAN, RedisTrafficBus
from serving import agent as agent_module
from tests.fixtures import patience
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.patience import patient
from tests.fixtures.traffic import CANDIDATE, STABLE, answered_by, plan, until

INFERRING = {Role.APPLICATION, Role.DATA_SCIENTIST, Role.ML_ENGINEER, Role.ADMIN}
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.mark.usefixtures("upstreams")
async def test_a_weight_is_what_requests_see_from_its_acknowledgement_on(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 3_000))
        split = await answered_by(gateway, 800)
        low, high = binom.interval(0.99999, 800, 0.3)
        assert low <= split[CANDIDATE.application] <= high
        for generation in range(2, 12):
            weight = TOTAL_WEIGHT if generation % 2 else 0
            await gateway.publish(bus, plan(generation, weight))
            expected = CANDIDATE if weight else STABLE
            assert await answered_by(gateway, 16) == {expected.application: 16}


@pytest.mark.usefixtures("upstreams")
async def test_an_acknowledgement_counts_what_was_answered_before_it(
    gateway: Gateway, bus: RedisTrafficBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what a step's figures are counted from: the requests of the weight before must not be among them."""
    monkeypatch.setattr(agent_module, "POLL_SECONDS", 30)
    async with gateway.agent():
        before = await gateway.publish(bus, plan(1, 0))
        assert await answered_by(gateway, 40) == {STABLE.application: 40}
        report = await gateway.publish(bus, plan(2, TOTAL_WEIGHT))
    arm = STABLE.application
    assert total_counts([report], arm).completed - total_counts([before], arm).completed == 40


@pytest.mark.usefixtures("upstreams")
async def test_no_client_hides_from_the_records_by_a_backtests_mark(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        for generation, weight in ((1, 0), (2, TOTAL_WEIGHT)):
            await gateway.publish(bus, plan(generation, weight))
            for path in ("fraud", "fraud/batch"):
                seen = (await gateway.infer(path, x_hotswap_backtest="1", x_request_id="mine")).json()["headers"]
                assert BACKTEST_HEADER not in seen
                assert seen["x-request-id"] == "mine", "what else a client says comes through"


async def test_a_report_says_how_many_replicas_the_proxy_can_route_to(gateway: Gateway, bus: RedisTrafficBus) -> None:
    replicas = [await gateway.upstream(f"replica-{number}") for number in range(2)]
    gateway.serve.targets = {STABLE.application: tuple(replica.target for replica in replicas), "starting": ()}
    async with gateway.agent():
        report = await gateway.publish(bus, plan(1, 0))
    assert report.replicas == {STABLE.application: 2}


@pytest.mark.usefixtures("upstreams")
async def test_an_entity_stays_with_its_arm_and_the_candidates_share_only_grows(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async def candidates() -> set[int]:
        answers = [await gateway.infer("fraud", x_entity_id=f"entity-{number}") for number in range(60)]
        assert all("x-entity-id" in answer.json()["headers"] for answer in answers)
        return {number for number, answer in enumerate(answers) if answer.headers["x-hotswap-arm"] == "candidate"}

    async with gateway.agent():
        await gateway.publish(bus, plan(1, 2_000))
        few = await candidates()
        assert await candidates() == few
        await gateway.publish(bus, plan(2, 6_000))
        assert few < await candidates()


@pytest.mark.usefixtures("upstreams")
async def test_only_a_valid_token_with_a_role_may_infer(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        for expected, headers in (
            (401, {}),
            (401, {"authorization": "Bearer nonsense"}),
            (401, gateway.token(Role.APPLICATION, age=timedelta(hours=3))),
            (403, gateway.token(Role.APPLICATION, audience="somebody-else")),
            *((200 if role in INFERRING else 403, gateway.token(role)) for role in Role),
            (403, gateway.token(*(Grant(role, "payments") for role in INFERRING))),
            (403, gateway.token()),
            (200, gateway.token(Role.VIEWER, Role.DATA_SCIENTIST)),
        ):
            for model, more in (
                ("fraud", {}),
                ("fraud", {"x-hotswap-version": "1.0.0"}),
                ("fraud", {"x-hotswap-version": "9.0.0"}),
                ("unknown", {}),
                ("unknown", {"x-hotswap-version": "1.0.0"}),
                ("fraud/warm-up", {}),
            ):
                answer = await gateway.infer(model, headers | more, x_request_id="trace-1")
                is_up = model == "fraud" and "9.0.0" not in more.values()
                assert answer.status_code == (expected if is_up or expected != 200 else 404)
                if expected != 200:
                    assert answer.json()["error"]["code"] == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[expected]
                    assert answer.json()["error"].keys() == {"code", "message", "details", "traceId", "timestamp"}
                    assert answer.json()["error"]["traceId"] == "trace-1"


@pytest.mark.usefixtures("upstreams")
async def test_what_is_not_up_is_404_and_the_version_header_chooses_the_arm(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        for code, model, headers in (
            ("MODEL_NOT_FOUND", "other", {}),
            ("MODEL_NOT_FOUND", "frau", {}),
            ("MODEL_NOT_FOUND", "fraud", {"x_hotswap_environment": "Staging"}),
            ("MODEL_NOT_FOUND", "other", {"x_hotswap_version": "1.0.0"}),
            ("MODEL_NOT_FOUND", "fraud", {"x_hotswap_environment": "Staging", "x_hotswap_version": "1.0.0"}),
            ("VERSION_NOT_FOUND", "fraud", {"x_hotswap_version": "9.0.0"}),
        ):
            answer = await gateway.infer(model, **headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
            told = answer.json()["error"]["message"]
            assert f"/api/v1/inference/{model}" in told, "what was asked for is named"
            is_elsewhere = "fraud serves in Production and not in the environment that x-hotswap-environment" in told
            assert is_elsewhere is ("x_hotswap_environment" in headers)
        wrong = await gateway.infer("fraud", x_hotswap_environment="Prod")
        assert "of which there are Development, Staging, Production" in wrong.json()["error"]["message"]
        own = {"x_hotswap_arm": "stable", "x_request_disconnect_disabled": "?0"}
        answer = await gateway.infer("fraud", x_hotswap_version="2.0.0", x_request_id="r-1", **own)
        assert answer.json()["from"] == CANDIDATE.application, "a version may be asked for before it has weight"
        assert answer.headers["x-hotswap-version"] == "2.0.0"
        seen = answer.json()["headers"]
        assert (seen["x-hotswap-arm"], seen["x-request-id"], seen["x-envoy-attempt-count"]) == ("candidate", "r-1", "1")
        assert seen["x-request-disconnect-disabled"] == "?1"
        assert not seen.keys() & set(UNREAD_HEADERS)
        assert answer.json()["path"] == f"/{CANDIDATE.application}/api/v1/inference/fraud"


@pytest.mark.usefixtures("upstreams")
async def test_replicas_are_asked_for_inference_and_nothing_else(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        for path in ("fraud", "fraud/batch", "fraud?a=/warm-up", "fraud/batch?a=b"):
            answer = await gateway.infer(path)
            assert answer.json()["path"] == f"/{STABLE.application}/api/v1/inference/{path}"
        for path in (
            *("fraud/warm-up", "fraud/warm-up?a=/batch", "fraud/batch/warm-up", "fraud/x/batch", "fraud//warm-up"),
            *("fraud/", "fraud/../fraud/warm-up", "fraud/%2e%2e/fraud/warm-up", "", "/"),
        ):
            for more in ({}, {"x_hotswap_version": "1.0.0"}):
                answer = await gateway.infer(path, **more)
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND"), path
                assert "/api/v1/inference/MODEL/batch" in answer.json()["error"]["message"]


async def test_our_own_business_is_hidden_and_the_rest_is_the_apis(gateway: Gateway) -> None:
    for path in ("/internal", "/internal/traffic/plan", "//internal/traffic/plan", "/a/../internal/traffic/plan"):
        answer = await gateway.get_raw(path)
        assert (answer.status_code, answer.json().get("error", {}).get("code")) == (404, "NOT_FOUND"), path
    for path in ("/api/v1/models", "/api/v1/inference/r-1/status"):
        assert (await gateway.http.get(path)).json()["from"] == "api"
    for path in ("r-1/outcome", "outcomes", "outcomes?a=b", "fraud/async"):
        assert (await gateway.http.post(f"/api/v1/inference/{path}", json={})).json()["from"] == "api"
    for path in ("/internal%2Ftraffic/plan", "/api/v1/inference%2ffraud"):
        answer = await gateway.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.usefixtures("upstreams")
async def test_a_candidate_without_replicas_gets_nothing_until_it_has_some(
    gateway: Gateway, bus: RedisTrafficBus, upstreams: dict[str, Upstream]
) -> None:
    gateway.serve.targets.pop(CANDIDATE.application)
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        report = await gateway.publish(bus, plan(2, 5_000))
        assert report.held.keys() == {"Production/fraud"}
        assert CANDIDATE.application in report.held["Production/fraud"]
        assert await answered_by(gateway, 40) == {STABLE.application: 40}
        gateway.serve.targets[CANDIDATE.application] = (upstreams[CANDIDATE.application].target,)

        async def is_let_go() -> bool:
            report = await gateway.report(bus)
            return report is not None and report.held == {}

        await patience.until(is_let_go, what="the end of the hold")
        assert len(await answered_by(gateway, 80)) == 2


@pytest.mark.usefixtures("upstreams")
async def test_nothing_is_acknowledged_that_envoy_has_not_taken(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        gateway.kill_envoy()
        await bus.publish(plan(2, TOTAL_WEIGHT))

        async def with_problem() -> ProxyReport | None:
            report = await gateway.report(bus)
            return report if report is not None and report.problem else None

        report = await patience.until(with_problem, what="a report of the problem")
        assert report.generation == 1
        assert report.problem is not None
        assert report.problem.startswith("plan 2 is not applied")
        await gateway.start_envoy()
        assert (await gateway.publish(bus, plan(2, TOTAL_WEIGHT))).problem is None
        assert await answered_by(gateway, 16) == {CANDIDATE.application: 16}


@pytest.mark.usefixtures("upstreams")
async def test_counts_only_grow_when_envoy_is_killed(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        await answered_by(gateway, 40)
        before = await until(gateway, bus, 40, STABLE.application)
        assert (before.completed, sum(before.latency.values())) == (40, 40)
        gateway.kill_envoy()
        await gateway.start_envoy()
        await answered_by(gateway, 24)
        after = await until(gateway, bus, 64, STABLE.application)
        assert (after.completed, after.server_errors, sum(after.latency.values())) == (64, 0, 64)
    async with gateway.agent():
        await answered_by(gateway, 8)
        assert (await until(gateway, bus, 72, STABLE.application)).completed == 72


@pytest.mark.usefixtures("upstreams")
async def test_traffic_goes_on_when_agent_and_envoy_start_again_with_all_else_away(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    gateway.settings = gateway.settings.model_copy(
        update={"agent": gateway.settings.agent.model_copy(update={"api_token_file": gateway.directory / "absent"})}
    )
    async with gateway.agent():
        await gateway.publish(bus, plan(1, TOTAL_WEIGHT))
    gateway.serve.is_away = True
    gateway.kill_envoy()
    await gateway.start_envoy()
    async with gateway.agent(redis_url=NOWHERE):
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert await answered_by(gateway, 8) == {CANDIDATE.application: 8}
            await asyncio.sleep(0.1)


@pytest.mark.usefixtures("upstreams")
async def test_an_address_that_serve_gave_to_another_application_gets_nothing_of_its_old_one(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        assert await answered_by(gateway, 8) == {STABLE.application: 8}
        gateway.serve.targets = {CANDIDATE.application: gateway.serve.targets[STABLE.application]}
        async with asyncio.timeout(patient(20)):
            while (await gateway.infer("fraud")).status_code != httpx.codes.SERVICE_UNAVAILABLE:
                await asyncio.sleep(0.05)


async def test_what_is_no_plan_does_not_stop_the_agent(
    gateway: Gateway, bus: RedisTrafficBus, upstreams: dict[str, Upstream], valkey_url: str
) -> None:
    async with gateway.agent(), Redis.from_url(valkey_url) as redis:
        await gateway.publish(bus, plan(1, None))
        for garbage in (b"{", b"[]", b'{"generation": 2, "routes": [{}]}'):
            await redis.set(PLAN, garbage)
            await redis.publish(PLAN, 2)
            await asyncio.sleep(0.1)
        assert await answered_by(gateway, 8) == {STABLE.application: 8}
        await gateway.publish(bus, plan(3, TOTAL_WEIGHT))
        assert await answered_by(gateway, 8) == {CANDIDATE.application: 8}


@pytest.mark.slow
async def test_killing_one_of_two_replicas_under_load_loses_no_request(gateway: Gateway, bus: RedisTrafficBus) -> None:
    replicas = [await gateway.upstream(str(number), delay=0.005) for number in range(2)]
    gateway.serve.targets = {STABLE.application: tuple(replica.target for replica in replicas)}
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        load = asyncio.create_task(answered_by(gateway, 1_600))
        await patience.until(lambda: len(replicas[0].asked) >= 100, every=0.01)
        assert not load.done()
        await replicas[0].kill()
        answered = await load
        assert answered.total() == 1_600
        assert answered["1"] > answered["0"] > 0


async def test_a_models_own_failure_reaches_the_client_once_and_counts(gateway: Gateway, bus: RedisTrafficBus) -> None:
    broken = await gateway.upstream("broken", status=500)
    gateway.serve.targets = {STABLE.application: (broken.target,)}
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        for _ in range(5):
            answer = await gateway.infer("fraud")
            assert (answer.status_code, answer.json()["headers"]["x-envoy-attempt-count"]) == (500, "1")
        counts = await until(gateway, bus, 5, STABLE.application)
        assert (counts.completed, counts.server_errors) == (5, 5)


async def test_a_share_is_turned_away_while_replicas_are_too_few(gateway: Gateway, bus: RedisTrafficBus) -> None:
    replica = await gateway.upstream("stable")
    gateway.serve.targets = {STABLE.application: (replica.target,)}
    (route,) = plan(1, None).routes
    async with gateway.agent():
        await gateway.publish(bus, TrafficPlan(1, (replace(route, shed=5_000),)))
        answers = [await gateway.infer("fraud") for _ in range(200)]
        turned_away = [answer for answer in answers if answer.status_code == 503]
        assert 60 < len(turned_away) < 140, "half of 200, but for one in a million"
        assert {answer.status_code for answer in answers} == {200, 503}
        assert {answer.json()["error"]["code"] for answer in turned_away} == {"SERVICE_UNAVAILABLE"}
        assert {answer.headers["retry-after"] for answer in turned_away} == {"1"}
        by_name = [await gateway.infer("fraud", x_hotswap_version=STABLE.version) for _ in range(20)]
        assert {answer.status_code for answer in by_name} == {200}
        await gateway.publish(bus, TrafficPlan(2, (route,)))
        assert {(await gateway.infer("fraud")).status_code for _ in range(20)} == {200}


async def test_nobody_there_is_503_in_the_error_format(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        answer: httpx.Response = await gateway.infer("fraud")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_an_agent_ends_whenever_it_is_told_to(gateway: Gateway) -> None:
    for milliseconds in range(40):
        async with asyncio.timeout(patient(20)), gateway.agent():
            await asyncio.sleep(milliseconds / 1000)
