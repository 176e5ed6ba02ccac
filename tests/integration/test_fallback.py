"""A candidate's failure on the real Envoy: the stable answers, the client sees none of it, and the candidate pays."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import httpx
import pytest

from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts
from hotswap.domain.vocabulary import Role
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.envoy import Gateway, Manner, Upstream
from tests.fixtures.patience import patience, patient
from tests.fixtures.patience import until as patience_until
from tests.fixtures.ports import free_base
from tests.fixtures.traffic import CANDIDATE, STABLE, answered_by, plan, until

TIMEOUT = timedelta(seconds=30)
"""A busy machine's second is no failure of the candidate."""
SOON, LATER = patience(seconds=1), patience(seconds=4)
"""For what hangs."""
REQUESTS = 12
BY_NAME = f"{CANDIDATE.application}+chosen"


@dataclass
class Arms:
    """A stable that answers, and the candidate's replicas as a test wants them, with all of the traffic."""

    gateway: Gateway
    bus: RedisTrafficBus
    replicas: list[Upstream] = field(default_factory=list)

    async def replica(self, arm: str, *, status: int = 200, manner: Manner = Manner.ANSWERS, **says: str) -> str:
        """The address of one more."""
        headers = {name.replace("_", "-"): value for name, value in says.items()}
        self.replicas.append(await Upstream.start(arm, status=status, manner=manner, says=headers))
        return self.replicas[-1].target

    async def serve(self, *candidate: str, stable: tuple[str, ...] = (), fallback: bool = True) -> None:
        stable = stable or (await self.replica(STABLE.application),)
        self.gateway.serve.targets = {STABLE.application: stable, CANDIDATE.application: candidate}
        await self.gateway.publish(self.bus, plan(1, TOTAL_WEIGHT, fallback=fallback))

    async def ask(self, requests: int = REQUESTS, **headers: str) -> list[httpx.Response]:
        return await asyncio.gather(*(self.gateway.infer("fraud", **headers) for _ in range(requests)))

    async def counted(self, arm: Arm, *, completed: int = 0) -> Counts:
        """Once so many answers are counted, by a report from after this was asked."""
        asked_at = time.time()
        while (report := await self.gateway.report(self.bus)) is None or report.reported_at < asked_at:
            await asyncio.sleep(0.05)
        return await until(self.gateway, self.bus, completed, arm.application)

    async def in_flight(self) -> int:
        """How many of the candidate's requests are in flight, by the newest report."""
        report = await self.gateway.report(self.bus)
        return 0 if report is None or report.active is None else report.active.get(CANDIDATE.application, 0)

    async def is_known(self, target: str) -> bool:
        """Whether Envoy has this address in a cluster."""
        return target in (await self.gateway.http.get(f"{self.gateway.settings.agent.envoy_admin_url}/clusters")).text


@pytest.fixture
def candidate_timeout() -> timedelta:
    return TIMEOUT


@pytest.fixture
async def arms(gateway: Gateway, bus: RedisTrafficBus, candidate_timeout: timedelta) -> AsyncIterator[Arms]:
    changed = gateway.settings.gateway.model_copy(update={"candidate_timeout": candidate_timeout})
    gateway.settings = gateway.settings.model_copy(update={"gateway": changed})
    gateway.kill_envoy()
    await gateway.start_envoy()
    found = Arms(gateway, bus)
    async with gateway.agent():
        yield found
    for replica in found.replicas:
        await replica.kill()


async def answers(arms: Arms, status: int) -> None:
    await arms.serve(await arms.replica(CANDIDATE.application, status=status))


async def acts(arms: Arms, manner: Manner) -> None:
    await arms.serve(await arms.replica(CANDIDATE.application, manner=manner))


async def refuses(arms: Arms) -> None:
    await arms.serve(f"127.0.0.1:{free_base()}")


async def is_not_there(arms: Arms) -> None:
    """Its only address was given to another application, as a restart may."""
    address = await arms.replica("another")
    await arms.serve(address)
    arms.gateway.serve.targets["another"] = arms.gateway.serve.targets.pop(CANDIDATE.application)
    async with asyncio.timeout(patient(20)):
        while await arms.is_known(address):
            await asyncio.sleep(0.05)


def rescued(requests: int) -> Counts:
    """Of a candidate that failed all of these, which the stable answered well."""
    return Counts(completed=requests, server_errors=requests, fell_back=requests, rescued_errors=requests)


def marks(headers: Mapping[str, str], *names: str) -> dict[str, str | None]:
    return {name: headers.get(name) for name in names}


@pytest.mark.parametrize(
    "fails",
    [
        pytest.param(lambda arms: answers(arms, 500), id="answers 500"),
        pytest.param(lambda arms: answers(arms, 503), id="answers 503"),
        pytest.param(lambda arms: answers(arms, 599), id="answers 599"),
        pytest.param(lambda arms: acts(arms, Manner.RESETS), id="resets"),
        pytest.param(refuses, id="refuses"),
        pytest.param(is_not_there, id="is not there"),
    ],
)
async def test_whatever_the_candidate_fails_the_stable_answers_and_the_candidate_is_counted(
    arms: Arms, fails: Callable[[Arms], Awaitable[None]]
) -> None:
    await fails(arms)
    await assert_rescued(arms)


@pytest.mark.parametrize("candidate_timeout", [SOON])
async def test_a_candidate_that_hangs_is_given_up_and_the_stable_answers(arms: Arms) -> None:
    await acts(arms, Manner.HANGS)
    await assert_rescued(arms)


async def assert_rescued(arms: Arms) -> None:
    for answer in await arms.ask(x_request_id="r-1"):
        assert answer.status_code == 200, answer.text
        told = marks(answer.headers, "x-hotswap-version", "x-hotswap-arm", "x-hotswap-fallback")
        assert tuple(told.values()) == ("1.0.0", "stable", "2.0.0")
        assert "x-hotswap-candidate-status" not in answer.headers
        seen = answer.json()
        assert (seen["from"], seen["path"]) == (STABLE.application, f"/{STABLE.application}/api/v1/inference/fraud")
        asked = marks(seen["headers"], "x-request-id", "x-hotswap-arm", "x-hotswap-fallback", "x-envoy-attempt-count")
        assert tuple(asked.values()) == ("r-1", "stable", "2.0.0", "5")
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == rescued(REQUESTS)
    assert await arms.counted(STABLE) == Counts(), "a rescue says nothing of the stable"


async def test_no_failure_is_forgotten_when_the_candidates_replicas_change(arms: Arms) -> None:
    await answers(arms, 500)
    for _ in range(5):
        await arms.ask()
        new = await arms.replica(CANDIDATE.application, status=500)
        arms.gateway.serve.targets[CANDIDATE.application] = (new,)
        await patience_until(lambda: arms.is_known(new), what="the candidate's new replica")  # noqa: B023 - at once
    counts = await arms.counted(CANDIDATE, completed=5 * REQUESTS)
    assert counts == rescued(5 * REQUESTS)


async def test_callers_that_keep_their_arm_are_counted_by_themselves_too(arms: Arms) -> None:
    await answers(arms, 500)
    await arms.ask(x_entity_id="ann")
    await arms.ask()
    counts = await arms.counted(CANDIDATE, completed=2 * REQUESTS)
    assert counts == replace(rescued(2 * REQUESTS), sticky=REQUESTS, sticky_errors=REQUESTS)


async def test_a_good_candidate_answers_for_itself_and_its_latencies_are_its_own(arms: Arms) -> None:
    await answers(arms, 200)
    for answer in await arms.ask(x_hotswap_fallback="9.9.9", x_hotswap_application=STABLE.application):
        told = marks(answer.headers, "x-hotswap-version", "x-hotswap-arm", "x-hotswap-fallback")
        assert tuple(told.values()) == ("2.0.0", "candidate", None)
        seen = answer.json()
        assert seen["path"] == f"/{CANDIDATE.application}/api/v1/inference/fraud"
        asked = marks(seen["headers"], "x-hotswap-arm", "x-hotswap-fallback", "x-envoy-attempt-count")
        assert tuple(asked.values()) == ("candidate", None, "1")
        assert seen["headers"]["x-envoy-expected-rq-timeout-ms"] == str(round(TIMEOUT.total_seconds() * 1_000)), (
            "so its record can say that it was too late"
        )
    await arms.ask(x_hotswap_version=CANDIDATE.version)
    for cluster in (CANDIDATE.application, BY_NAME):
        counts = await until(arms.gateway, arms.bus, REQUESTS, cluster)
        assert (counts.completed, counts.good) == (REQUESTS, REQUESTS)
        assert sum(counts.latency.values()) == REQUESTS, "by its share and by its name"


def refused(requests: int, *, rescued: int) -> Counts:
    """Of a candidate that refused all of these, of which the stable answered some well."""
    return Counts(
        completed=requests, client_errors=requests, fell_back=requests, refused=requests, rescued_refusals=rescued
    )


async def test_what_the_candidate_refuses_the_stable_answers_and_it_is_counted_as_refused(arms: Arms) -> None:
    await arms.serve(await arms.replica(CANDIDATE.application, status=400, x_hotswap_refused="1"))
    for answer in await arms.ask(x_hotswap_fallback_cause="failed", x_request_id="r-1"):
        assert answer.status_code == 200, answer.text
        told = marks(answer.headers, "x-hotswap-arm", "x-hotswap-fallback", "x-hotswap-fallback-cause")
        assert tuple(told.values()) == ("stable", "2.0.0", "refused")
        assert not answer.headers.keys() & {"x-hotswap-refused", "x-hotswap-candidate-refused"}
        seen = answer.json()["headers"]
        assert (seen["x-hotswap-fallback"], seen["x-request-id"], seen["x-envoy-attempt-count"]) == (
            "2.0.0",
            "r-1",
            "5",
        )
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == refused(REQUESTS, rescued=REQUESTS)
    assert await arms.counted(STABLE) == Counts()


async def test_what_both_refuse_is_the_stables_refusal_and_nobodys_failure(arms: Arms) -> None:
    stable = await arms.replica(STABLE.application, status=400, x_hotswap_refused="1")
    await arms.serve(await arms.replica(CANDIDATE.application, status=400, x_hotswap_refused="1"), stable=(stable,))
    for answer in await arms.ask():
        assert (answer.status_code, answer.json()["from"]) == (400, STABLE.application)
        assert "x-hotswap-refused" not in answer.headers
        assert answer.json()["headers"]["x-envoy-attempt-count"] == "5", "the stable is asked once"
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == refused(REQUESTS, rescued=0)
    assert await arms.counted(STABLE) == Counts()


async def test_a_refusal_is_only_asked_again_where_a_candidate_falls_back(arms: Arms) -> None:
    """Not the stable's own, not of a model that must not be asked twice, not where a version was asked for by name."""
    stable, candidate = [
        await arms.replica(arm.application, status=400, x_hotswap_refused="1") for arm in (STABLE, CANDIDATE)
    ]
    await arms.serve(candidate, stable=(stable,), fallback=False)
    asked = [*await arms.ask(), *await arms.ask(x_hotswap_version="1.0.0"), *await arms.ask(x_hotswap_version="2.0.0")]
    for answer in asked:
        assert (answer.status_code, answer.json()["headers"]["x-envoy-attempt-count"]) == (400, "1")
        assert not answer.headers.keys() & {"x-hotswap-fallback", "x-hotswap-fallback-cause", "x-hotswap-refused"}
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == Counts(completed=REQUESTS, client_errors=REQUESTS)


async def test_failures_and_refusals_of_one_candidate_are_told_apart(arms: Arms) -> None:
    await arms.serve(await arms.replica(CANDIDATE.application, status=400, x_hotswap_refused="1"))
    await arms.ask()
    broken = await arms.replica(CANDIDATE.application, status=500)
    arms.gateway.serve.targets[CANDIDATE.application] = (broken,)

    async def fails() -> bool:
        (answer,) = await arms.ask(1)
        return answer.headers["x-hotswap-fallback-cause"] == "failed"

    await patience_until(fails, what="the candidate's new replica")
    counts = await arms.counted(CANDIDATE, completed=REQUESTS + 1)
    assert (counts.refused, counts.rescued_refusals) == (counts.client_errors,) * 2
    assert (counts.server_errors, counts.rescued_errors) == (1, 1)
    assert counts.fell_back == counts.completed


@pytest.mark.parametrize("status", [400, 409, 413])
async def test_a_clients_mistake_is_not_asked_again(arms: Arms, status: int) -> None:
    await answers(arms, status)
    for answer in await arms.ask():
        assert (answer.status_code, answer.headers["x-hotswap-arm"]) == (status, "candidate")
        assert "x-hotswap-fallback" not in answer.headers
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == Counts(completed=REQUESTS, client_errors=REQUESTS)


async def test_what_both_fail_is_the_stables_answer_asked_once_and_the_candidates_error(arms: Arms) -> None:
    stable = await arms.replica(STABLE.application, status=500)
    await arms.serve(await arms.replica(CANDIDATE.application, status=500), stable=(stable,))
    for answer in await arms.ask():
        assert (answer.status_code, answer.headers["x-hotswap-arm"]) == (500, "stable")
        assert answer.json()["headers"]["x-envoy-attempt-count"] == "5"
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == replace(rescued(REQUESTS), rescued_errors=0)
    assert await arms.counted(STABLE) == Counts()


async def test_a_fallback_has_the_stables_own_retries(arms: Arms) -> None:
    good = await arms.replica(STABLE.application)
    stable = (f"127.0.0.1:{free_base()}", good)
    await arms.serve(await arms.replica(CANDIDATE.application, status=500), stable=stable)
    answered = await arms.ask(4 * REQUESTS)
    assert {answer.status_code for answer in answered} == {200}
    assert "6" in {answer.json()["headers"]["x-envoy-attempt-count"] for answer in answered}


async def test_who_asks_for_the_candidate_by_name_gets_its_own_failure(arms: Arms) -> None:
    await answers(arms, 500)
    for answer in await arms.ask(x_hotswap_version=CANDIDATE.version):
        assert (answer.status_code, answer.headers["x-hotswap-version"]) == (500, "2.0.0")
        assert "x-hotswap-fallback" not in answer.headers
    counts = await until(arms.gateway, arms.bus, REQUESTS, BY_NAME)
    assert counts == Counts(completed=REQUESTS, server_errors=REQUESTS)
    assert await arms.counted(CANDIDATE) == Counts(), "who chose it himself is not held against it"


async def test_a_model_that_must_not_be_asked_twice_is_asked_once(arms: Arms) -> None:
    await arms.serve(await arms.replica(CANDIDATE.application, status=500), fallback=False)
    for answer in await arms.ask():
        assert (answer.status_code, answer.headers["x-hotswap-arm"]) == (500, "candidate")
        assert answer.json()["headers"]["x-envoy-attempt-count"] == "1"
    assert await arms.counted(CANDIDATE, completed=REQUESTS) == Counts(completed=REQUESTS, server_errors=REQUESTS)


@pytest.mark.parametrize("fails", [lambda arms: answers(arms, 500), refuses])
async def test_a_large_body_is_asked_again_whole(arms: Arms, fails: Callable[[Arms], Awaitable[None]]) -> None:
    await fails(arms)
    body, headers = b" " * (9 * 1024**2), arms.gateway.token(Role.APPLICATION)
    answer = await arms.gateway.http.post("/api/v1/inference/fraud/batch", content=body, headers=headers)
    assert (answer.status_code, answer.headers["x-hotswap-fallback"]) == (200, "2.0.0")
    assert answer.json()["headers"]["content-length"] == str(len(body))


@pytest.mark.parametrize("candidate_timeout", [LATER])
async def test_a_request_that_hangs_when_its_candidate_is_withdrawn_is_still_answered(arms: Arms) -> None:
    await acts(arms, Manner.HANGS)
    asked = asyncio.create_task(arms.ask(1))
    await patience_until(lambda: arms.replicas[0].asked, every=0.01)
    await arms.gateway.publish(arms.bus, plan(2, None))
    assert not asked.done()
    (answer,) = await asked
    assert (answer.status_code, answer.headers["x-hotswap-fallback"]) == (200, "2.0.0")


@pytest.mark.slow
async def test_a_killed_replica_of_the_candidate_is_neither_felt_nor_held_against_it(arms: Arms) -> None:
    await arms.serve(*[await arms.replica(CANDIDATE.application) for _ in range(2)])
    load = asyncio.create_task(answered_by(arms.gateway, 1_600))
    await patience_until(lambda: len(arms.replicas[0].asked) >= 100, every=0.01)
    assert not load.done()
    await arms.replicas[0].kill()
    assert await load == {CANDIDATE.application: 1_600}
    assert (await arms.counted(CANDIDATE, completed=1_600)).server_errors == 0


@pytest.mark.parametrize("candidate_timeout", [LATER])
async def test_what_is_in_flight_is_told_until_it_has_ended(arms: Arms) -> None:
    await acts(arms, Manner.HANGS)
    asking = asyncio.create_task(arms.ask(3))
    async with asyncio.timeout(patient(20)):
        while await arms.in_flight() != 3:
            await asyncio.sleep(0.02)
        await asking
        while await arms.in_flight() != 0:
            await asyncio.sleep(0.02)
