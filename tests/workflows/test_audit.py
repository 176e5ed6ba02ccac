"""Whatever is changed through the API is on record: who, why, what it was before and after, under its trace id.

Every route with a method that changes something is gone through, with the real workflows over PostgreSQL and Temporal;
one that is new fails here until it is. What a caller says of it in words is in `tests/integration/test_api_audit.py`.
"""

import asyncio
import inspect
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from temporalio.api.enums.v1 import EventType

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.validation import ValidationCheck, ValidationReport
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.registry.versions import PostgresRegistry
from tests.fixtures.patience import patient
from tests.integration import test_api_artifacts, test_api_proxies, test_api_reconciliation
from tests.unit.api.test_api_authorization import RULES
from tests.workflows.test_queue import AT_ONCE, LONG, Site, at_weight, has_ended, site

__all__ = ["site"]

REASON = "CHG-4711: späte Etiketten"  # not every reason is ASCII

NO_CHANGE = {
    ("POST", "/api/v1/authentication/login"): "asks who one is",
    ("POST", "/api/v1/authentication/token"): "asks who one is; an exchange is on record as the token's use",
    ("POST", "/api/v1/deployments/{deployment_id}/replay"): "judges the past again, and keeps nothing",
    ("POST", "/api/v1/models/{model}/drift"): "compares what was asked; the report says by itself when and of what",
    ("POST", "/api/v1/inference/outcomes"): "data, of which there may be thousands a second; each has who said it",
    ("POST", "/api/v1/inference/{request_id}/outcome"): "the same, for one",
    ("POST", "/api/v1/inference/{model}/async"): "a question, which has a record as any other",
    ("POST", "/api/v1/models/{model}/uploads"): "promises a place; there is nothing before all of it was sent",
    ("POST", "/internal/traffic/report"): "what a proxy has counted",
    ("DELETE", "/internal/traffic/proxies/{proxy}"): "a proxy that has shut down says so",
}
"""Why these leave no event."""

ELSEWHERE: dict[tuple[str, str], Callable[..., Any]] = {
    (
        "POST",
        "/api/v1/models/{model}/uploads/{upload_id}/complete",
    ): test_api_artifacts.test_a_completed_upload_is_not_sent_again,
    ("POST", "/api/v1/artifacts/gc"): test_api_artifacts.test_garbage_is_told_first_and_removed_when_asked_to,
    ("DELETE", "/api/v1/proxies/{proxy}"): test_api_proxies.test_a_lost_proxy_is_removed_and_that_is_on_record,
    ("POST", "/api/v1/reconciliation"): test_api_reconciliation.test_a_repair_is_an_admins_is_audited_and_repairs,
}
"""These need an S3 or a proxy, or other workflows: which test looks for their events."""


class Tour:
    """Asks the API, each time under a trace id of its own, and looks for what that left in the audit log."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.been: set[tuple[str, str]] = set()

    async def ask(
        self,
        method: str,
        route: str,
        body: Mapping[str, Any] | None = None,
        *,
        names: Mapping[str, str] = MappingProxyType({}),
        created: bool = False,
    ) -> dict[str, Any]:
        """The answer, once the change is on record; what is `created` was nothing before."""
        self.been.add((method, f"/api/v1{route}"))
        trace = f"tour-{secrets.token_hex(4)}"
        headers = self.site.headers | {"x-request-id": trace, "x-hotswap-reason": REASON}
        answer = await self.site.http.request(
            method,
            f"/api/v1{route.format(**names)}",
            headers=httpx.Headers(headers, encoding="utf-8"),
            json=body,
        )
        assert answer.is_success, (method, route, answer.text)
        event = await self._event(trace)
        assert event["actor"] == "ann"
        assert REASON in event["why"], event
        assert event["after"], event
        assert created or event["before"], event
        told: dict[str, Any] = answer.json()
        return told

    async def _event(self, trace: str) -> dict[str, Any]:
        """The first that this caller's request has left; a workflow's may take a moment."""
        async with asyncio.timeout(patient(20)):
            while True:
                found = [each for each in await self.events(traceId=trace) if each["actor"] == "ann" and each["after"]]
                if found:
                    return found[-1]
                await asyncio.sleep(0.05)

    async def events(self, **wanted: str) -> list[dict[str, Any]]:
        answer = await self.site.http.get("/api/v1/audit", headers=self.site.headers, params={"limit": 200, **wanted})
        events: list[dict[str, Any]] = answer.json()["items"]
        return events


async def test_every_route_that_changes_something_leaves_who_why_before_and_after(site: Site) -> None:
    tour = Tour(site)
    async with site.worker():
        await _steer(tour)
        await _curate(tour)
    changing = {(method, path) for method, path in RULES if method != "GET"}
    assert changing - NO_CHANGE.keys() - ELSEWHERE.keys() == tour.been
    for test in ELSEWHERE.values():
        assert "/api/v1/audit" in inspect.getsource(test)


async def _steer(tour: Tour) -> None:
    site = tour.site
    model = await site.model()

    async def deployed(version: str, **more: Any) -> str:
        wanted = {"modelId": model, "version": version, "strategyConfig": AT_ONCE, **more}
        return str((await tour.ask("POST", "/deployments", wanted, created=True))["deploymentId"])

    async def say(verb: str, deployment_id: str, *, created: bool = False, **body: Any) -> dict[str, Any]:
        route = f"/deployments/{{deployment_id}}/{verb}"
        return await tour.ask("POST", route, body, created=created, names={"deployment_id": deployment_id})

    await site.until(await deployed("1.0.0"), has_ended)
    canary = await deployed("2.0.0", strategyConfig=LONG)
    await site.until(canary, at_weight)
    await say("pause", canary)
    await site.until(canary, lambda row: row.status == S.PAUSED)
    await say("resume", canary)
    await site.until(canary, lambda row: row.status == S.PROGRESSING)
    await say("goto", canary, step=1)
    await say("promote", canary, full=True)
    await say("abort", canary)
    await site.until(canary, has_ended)
    again = str((await say("retry", canary, created=True))["deploymentId"])
    await site.say(again, "abort")
    await site.until(again, has_ended)
    second = await deployed("2.0.0")
    await site.until(second, has_ended)
    await say("scale", second, replicas=2)
    back = str((await say("rollback", second, created=True))["deploymentId"])
    await site.until(back, has_ended)

    approved, rejected = [
        await deployed(version, environment="Staging", onConflict="queue") for version in ("1.0.0", "2.0.0")
    ]
    await site.until(approved, lambda row: row.status == S.AWAITING_APPROVAL)
    await say("approve", approved)
    await site.until(rejected, lambda row: row.status == S.AWAITING_APPROVAL)
    await say("reject", rejected)

    freeze = {"environment": "Development", "duration": "PT1H", "reason": REASON}
    made = await tour.ask("POST", "/freezes", freeze, created=True)
    await tour.ask("DELETE", "/freezes/{freeze_id}", names={"freeze_id": made["freezeId"]})


async def _curate(tour: Tour) -> None:
    site, model = tour.site, f"curated-{secrets.token_hex(4)}"
    one, version = {"model": model}, {"model": model, "version": "1.0.0"}
    wanted = {"name": model, "version": "1.0.0", "framework": "ONNX", "artifactPath": "s3://ml-models/x.tar.gz"}
    await tour.ask("POST", "/models", wanted, created=True)
    await tour.ask("PATCH", "/models/{model}", {"owner": "bob"}, names=one)
    await tour.ask("PUT", "/models/{model}/monitoring", {"samples": 99}, created=True, names=one)
    await tour.ask("PUT", "/models/{model}/aliases/{alias}", {"version": "1.0.0"}, names={**one, "alias": "champion"})
    await tour.ask("DELETE", "/models/{model}/aliases/{alias}", names={**one, "alias": "champion"})
    of_version = "/models/{model}/versions/{version}"
    await tour.ask("PUT", f"{of_version}/card", {"text": "Card payments."}, names=version)
    await tour.ask("POST", f"{of_version}/deprecate", {"reason": REASON}, names=version)
    await tour.ask("POST", f"{of_version}/restore", names=version)

    deployment = await site.deploy(model, environment="Staging")
    ref = (await PostgresRegistryReader(site.sessions).ref(model, "1.0.0")).version_id
    slow = ValidationReport((ValidationCheck("latency", False, "25 ms, of a baseline of 20"),))
    await PostgresRegistry(site.sessions).store_validation(deployment, ref, slow)
    await tour.ask("POST", f"{of_version}/validation/override", {"reason": REASON}, created=True, names=version)
    await tour.ask("DELETE", f"{of_version}/validation/override", names=version)
    await site.say(deployment, "abort")
    await site.until(deployment, has_ended)

    await tour.ask("DELETE", "/models/{model}", names=one)
    await tour.ask("POST", "/models/{model}/restore", names=one)
    token = {"name": f"checkout-{secrets.token_hex(4)}", "roles": ["Application"]}
    made = await tour.ask("POST", "/tokens", token, created=True)
    await tour.ask("POST", "/tokens/{token}/rotate", names={"token": made["tokenId"]})
    await tour.ask("DELETE", "/tokens/{token}", names={"token": made["tokenId"]})


async def test_what_a_workflow_does_leads_to_the_request_that_asked_for_it(site: Site) -> None:
    tour, model = Tour(site), await site.model()
    async with site.worker():
        deployment = await site.deploy(model, config=AT_ONCE, headers={"x-request-id": "asked-at-noon"})
        await site.until(deployment, has_ended)
        assert {each["traceId"] for each in await tour.events(target=deployment)} == {"asked-at-noon"}
        canary = await site.deploy(model, "2.0.0", headers={"x-request-id": "asked-at-one"})
        await site.until(canary, at_weight)
        await site.say(canary, "abort", headers={"x-request-id": "aborted-at-two"})
        await site.until(canary, has_ended)
    forward, back = [
        {each["action"] for each in await tour.events(target=canary, traceId=trace)}
        for trace in ("asked-at-one", "aborted-at-two")
    ]
    assert {"request rollout", "change route", "weight verified", "status Progressing"} <= forward
    assert {"abort", "change route", "weight verified", "status RollingBack", "status RolledBack"} <= back
    assert {each["traceId"] for each in await tour.events(target=canary)} == {"asked-at-one", "aborted-at-two"}


async def test_a_command_that_was_refused_is_on_record_and_not_in_the_history(site: Site) -> None:
    tour = Tour(site)
    async with site.worker():
        canary = await site.deploy(await site.served(), "2.0.0")
        await site.until(canary, at_weight)
        handle = site.client.get_workflow_handle((await site.row(canary)).workflow_id)
        answer = await site.say(canary, "resume", headers={"x-request-id": "asked-in-vain"})
        told = f"{canary} is Progressing, and it isn't paused"
        assert (answer.status_code, answer.json()["error"]["message"]) == (409, told)
        updates = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
        assert updates not in [each.event_type for each in (await handle.fetch_history()).events]
        (event,) = await tour.events(target=canary, traceId="asked-in-vain")
        await site.say(canary, "abort")
        await site.until(canary, has_ended)
    assert (event["actor"], event["action"], event["why"]) == ("ann", "resume", f"resume had no effect: {told}")


@pytest.mark.parametrize(
    "change", ["UPDATE audit_events SET actor = 'eve'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
async def test_nobody_changes_what_is_on_record(site: Site, change: str) -> None:
    await site.model()
    async with site.sessions() as session:
        with pytest.raises(DBAPIError, match="append-only"):
            await session.execute(text(change))
