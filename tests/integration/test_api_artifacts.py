"""Artifacts that people send by the API, straight to a real S3, and those that no version refers to any more."""

import asyncio
import hashlib
import itertools
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

import hotswap.registry.garbage
import hotswap.registry.uploads
import hotswap.storage.artifacts
from api.orchestration import Orchestration
from hotswap.domain.artifacts import StoredObject
from hotswap.domain.errors import Conflict
from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.garbage import PostgresGarbage
from hotswap.settings import Settings
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage
from tests.fixtures.api import make_app
from tests.fixtures.api_settings import bearer, make_settings
from tests.fixtures.line import Line, line
from tests.fixtures.listening import serving
from tests.fixtures.patience import patient, until
from tests.fixtures.ports import free_port
from tests.fixtures.rows import registrar
from tests.fixtures.s3 import S3Server
from tests.integration.api_world import INSPECTION, registration
from tests.integration.test_api_deployments import error_of
from tests.integration.test_artifact_memory import taken

PART = 5 * 1024**2
"""The least that S3 takes but for the last."""
PATH = "/api/v1/models/fraud/uploads"


@dataclass
class Shop:
    """The API beside an S3, of which people know another address."""

    http: httpx.AsyncClient
    settings: Settings
    sessions: Sessions
    s3: S3Server
    line: Line
    url: str

    def as_(self, role: Role, subject: str = "dora") -> dict[str, str]:
        return bearer(self.settings, role, subject=subject)

    async def begin(self, content: bytes, *, by: str = "dora", **changes: Any) -> httpx.Response:
        body = {"sha256": hashlib.sha256(content).hexdigest(), "sizeBytes": len(content), "fileName": "m.tar"}
        headers = self.as_(Role.DATA_SCIENTIST, by)
        return await self.http.post(PATH, headers=headers, json={**body, **changes})

    async def complete(self, upload_id: str, *, by: str = "dora") -> httpx.Response:
        return await self.http.post(f"{PATH}/{upload_id}/complete", headers=self.as_(Role.DATA_SCIENTIST, by))

    async def collect(self, **body: Any) -> dict[str, Any]:
        answer = await self.http.post("/api/v1/artifacts/gc", headers=self.as_(Role.ADMIN, "root"), json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture
async def shop(
    sessions: Sessions, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    monkeypatch.setattr(hotswap.registry.uploads, "PART_BYTES", PART)
    public = free_port()
    endpoint = s3.settings().endpoint
    settings = make_settings(tmp_path, storage=s3.settings(public_endpoint=f"127.0.0.1:{public}").model_dump())
    app = make_app(settings, sessions, cast("Orchestration", None))
    async with (
        line(endpoint, port=public) as carried,
        serving(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=patient(30)) as http,
    ):
        yield Shop(http, settings, sessions, s3, carried, url)


async def send(upload: dict[str, Any], content: bytes, *, only: int | None = None) -> None:
    offset = 0
    async with httpx.AsyncClient(trust_env=False, timeout=patient(30)) as http:
        for part in upload["parts"]:
            some = content[offset : offset + part["sizeBytes"]]
            offset += part["sizeBytes"]
            if part["url"] is not None and only in {None, part["number"]}:
                assert (await http.put(part["url"], content=some)).status_code == 200


def content_of(parts: float) -> bytes:
    return random.Random(7).randbytes(int(PART * parts))


async def test_a_push_that_is_killed_goes_on_with_what_is_missing(shop: Shop, tmp_path: Path) -> None:
    content = content_of(4.5)
    file = tmp_path / "model.tar"
    file.write_bytes(content)

    async def push() -> asyncio.subprocess.Process:
        token = shop.as_(Role.DATA_SCIENTIST)["Authorization"].removeprefix("Bearer ")
        environment = {**os.environ, "HOTSWAP_URL": shop.url, "HOTSWAP_TOKEN": token}
        words = (sys.executable, "-m", "hotswap.cli", "push", str(file), "fraud", "--json")
        return await asyncio.create_subprocess_exec(*words, env=environment, stdout=asyncio.subprocess.PIPE)

    shop.line.most = 2
    killed = await push()

    async def missing() -> list[int]:
        parts = (await shop.begin(content, fileName="model.tar")).json()["parts"]
        return [part["number"] for part in parts if part["url"] is not None]

    async def two_are_missing() -> bool:
        return len(await missing()) == 2

    await until(two_are_missing)
    killed.kill()
    await killed.wait()
    left = await missing()
    shop.line.most, shop.line.sent = 10_000, 0
    again = await push()
    output, _ = await again.communicate()
    assert again.returncode == 0
    expected = sum(PART if number < 5 else PART // 2 for number in left)
    assert expected < shop.line.sent < expected + 10_000, "what was missing, and the headers"
    path = httpx.Response(200, content=output).json()["artifactPath"]
    there = await asyncio.to_thread(ObjectStorage(shop.settings.storage).download, path, tmp_path / "down")
    assert there == (hashlib.sha256(content).hexdigest(), len(content))


async def test_a_completed_upload_is_not_sent_again(shop: Shop) -> None:
    content = content_of(1.5)
    begun = (await shop.begin(content)).json()
    assert (begun["completed"], [part["sizeBytes"] for part in begun["parts"]]) == (False, [PART, PART // 2])
    assert begun["artifactPath"].startswith("s3://ml-models/uploads/fraud/")
    await send(begun, content)
    done = (await shop.complete(begun["uploadId"])).json()
    assert (done["completed"], done["artifactPath"], done["parts"]) == (True, begun["artifactPath"], [])
    assert (await shop.complete(begun["uploadId"])).json() == done, "again is no error"
    assert (await shop.begin(content)).json() == done
    told = (await shop.http.get("/api/v1/audit?action=push", headers=shop.as_(Role.VIEWER))).json()["items"]
    assert [(each["actor"], each["target"]) for each in told] == [("dora", done["artifactPath"])]


async def test_what_is_missing_is_named_and_the_rest_stays(shop: Shop) -> None:
    content = content_of(2.5)
    begun = (await shop.begin(content)).json()
    await send(begun, content, only=1)
    refused = await shop.complete(begun["uploadId"])
    assert error_of(refused) == (409, "CONFLICT")
    assert "parts 2, 3 are not there in full" in refused.json()["error"]["message"]
    again = (await shop.begin(content)).json()
    assert [part["number"] for part in again["parts"] if part["url"] is not None] == [2, 3]


async def test_a_part_of_another_size_is_never_taken_for_it(shop: Shop) -> None:
    content = content_of(1.5)
    begun = (await shop.begin(content)).json()
    await send(begun, content, only=1)
    async with httpx.AsyncClient(trust_env=False, timeout=patient(30)) as http:
        assert (await http.put(begun["parts"][1]["url"], content=b"more or less")).status_code == 200
    refused = await shop.complete(begun["uploadId"])
    assert "parts 2 are not there in full" in refused.json()["error"]["message"]
    anew = (await shop.begin(content)).json()
    assert [part["number"] for part in anew["parts"] if part["url"] is not None] == [1, 2]
    await send(anew, content)
    assert (await shop.complete(anew["uploadId"])).json()["completed"]


async def test_what_s3_does_not_take_together_is_thrown_away_and_sent_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a part is not what S3 has noted of it."""
    content = content_of(1.5)
    begun = (await shop.begin(content)).json()
    await send(begun, content)
    parts = MultipartUploads.parts

    def misread(self: MultipartUploads, key: str, upload_id: str) -> Any:
        found = parts(self, key, upload_id)
        return found and {number: replace(part, etag="0" * 32) for number, part in found.items()}

    with monkeypatch.context() as misreading:
        misreading.setattr(MultipartUploads, "parts", misread)
        refused = await shop.complete(begun["uploadId"])
    assert error_of(refused) == (409, "CONFLICT")
    assert "thrown away; send them again" in refused.json()["error"]["message"]
    anew = (await shop.begin(content)).json()
    assert all(part["url"] is not None for part in anew["parts"])


async def test_what_s3_has_lost_is_begun_anew(shop: Shop) -> None:
    content = content_of(1)
    begun = (await shop.begin(content)).json()
    await send(begun, content)
    shop.s3.kill()
    shop.s3.start()
    assert error_of(await shop.complete(begun["uploadId"])) == (409, "CONFLICT")
    anew = (await shop.begin(content)).json()
    assert anew["uploadId"] == begun["uploadId"]
    assert anew["artifactPath"] != begun["artifactPath"]
    await send(anew, content)
    assert (await shop.complete(anew["uploadId"])).json()["completed"]


async def test_another_sends_for_himself(shop: Shop) -> None:
    content = content_of(0.1)
    mine, his = [(await shop.begin(content, by=by)).json() for by in ("dora", "eve")]
    assert mine["artifactPath"] != his["artifactPath"], "nobody writes what another registers"
    assert error_of(await shop.complete(mine["uploadId"], by="eve")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sizeBytes": 2 * 1024**3 + 1}, "sizeBytes"),
        ({"sizeBytes": 0}, "sizeBytes"),
        ({"fileName": "../m.tar"}, "fileName"),
        ({"fileName": "a/b.tar"}, "fileName"),
        ({"sha256": "ab"}, "sha256"),
    ],
)
async def test_what_can_not_be_sent_is_refused_by_its_field(shop: Shop, changes: dict[str, Any], field: str) -> None:
    refused = await shop.begin(b"x", **changes)
    assert error_of(refused) == (400, "VALIDATION_ERROR")
    assert [problem["field"] for problem in refused.json()["error"]["details"]] == [field]


async def test_a_part_is_taken_by_its_own_address_alone(shop: Shop) -> None:
    begun = (await shop.begin(content_of(1.5))).json()
    url = begun["parts"][0]["url"].replace("partNumber=1", "partNumber=2")
    async with httpx.AsyncClient(trust_env=False, timeout=patient(30)) as http:
        assert (await http.put(url, content=b"x")).status_code == 403


def put(shop: Shop, key: str, *, days_old: float = 2) -> str:
    """An object of seven bytes, as `mc` puts it there."""
    file = shop.s3.directory / "ml-models" / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"content")
    then = file.stat().st_mtime - days_old * 86_400
    os.utime(file, (then, then))
    return f"s3://ml-models/{key}"


async def register(shop: Shop, path: str, version: str = "1.0.0") -> None:
    found = replace(INSPECTION, artifact=replace(INSPECTION.artifact, uri=path))
    await registrar(shop.sessions).add_version(registration("fraud", version), found)


async def test_garbage_is_told_first_and_removed_when_asked_to(shop: Shop) -> None:
    old, kept = put(shop, "uploads/fraud/a/m.tar"), put(shop, "uploads/fraud/b/m.tar")
    put(shop, "uploads/fraud/c/m.tar", days_old=0.5)
    elsewhere = put(shop, "fraud/by-hand.tar")
    await register(shop, kept)
    told = await shop.collect()
    assert ([each["artifactPath"] for each in told["items"]], told["totalBytes"], told["applied"]) == ([old], 7, False)
    assert await shop.collect() == told, "telling changes nothing"
    done = await shop.collect(apply=True)
    assert (done["items"], done["applied"]) == (told["items"], True)
    assert (await shop.collect(apply=True))["items"] == []
    left = {path.parent.name for path in (shop.s3.directory / "ml-models" / "uploads").rglob("*.tar")}
    assert left == {"b", "c"}, "what is referred to, and what is young"
    everything = await shop.collect(prefix="")
    assert [each["artifactPath"] for each in everything["items"]] == [elsewhere]
    seen = await shop.http.get("/api/v1/audit", params={"target": old}, headers=shop.as_(Role.VIEWER))
    assert [(each["action"], each["actor"]) for each in seen.json()["items"]] == [("collect garbage", "root")]


async def test_garbage_is_found_batch_by_batch_and_removed_call_by_call(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hotswap.registry.garbage, "MOST", 2)
    monkeypatch.setattr(hotswap.storage.artifacts, "BATCH", 2)
    paths = [put(shop, f"uploads/fraud/{name}/m.tar") for name in "abcdefgh"]
    for number in (0, 1, 5):
        await register(shop, paths[number], f"1.0.{number}")
    seen = [await shop.collect(apply=True) for _ in range(3)]
    assert [each["more"] for each in seen] == [True, True, False]
    assert [len(each["items"]) for each in seen] == [2, 2, 1]
    gone = {item["artifactPath"] for each in seen for item in each["items"]}
    assert gone == {path for number, path in enumerate(paths) if number not in {0, 1, 5}}


async def test_a_bucket_without_end_is_listed_as_far_as_one_call_goes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = itertools.count()

    def endless(*_: Any, before: datetime, **__: Any) -> Iterator[StoredObject]:
        for number in listed:
            yield StoredObject(f"s3://ml-models/uploads/{number}.tar", 1, before)

    monkeypatch.setattr(ObjectStorage, "objects", endless)
    told = await shop.collect()
    assert (len(told["items"]), told["totalBytes"], told["more"]) == (1_000, 1_000, True)
    assert next(listed) <= 2_000


async def test_garbage_is_collected_by_one_at_a_time(shop: Shop) -> None:
    path = put(shop, "uploads/fraud/a/m.tar")
    async with PostgresGarbage(shop.sessions).alone():
        refused = await shop.http.post("/api/v1/artifacts/gc", headers=shop.as_(Role.ADMIN), json={"apply": True})
        assert error_of(refused) == (409, "CONFLICT")
        assert "another garbage collection is running" in refused.json()["error"]["message"]
    assert [each["artifactPath"] for each in (await shop.collect(apply=True))["items"]] == [path]


async def test_a_version_whose_path_is_spelled_otherwise_keeps_its_artifact(shop: Shop) -> None:
    put(shop, "uploads/fraud/a/m.tar")
    await register(shop, "s3://ml-models//uploads/fraud/a/m.tar")
    assert (await shop.collect(apply=True))["items"] == []


async def test_what_went_can_not_be_registered_by_who_looked_before(shop: Shop) -> None:
    path = put(shop, "uploads/fraud/a/m.tar")
    await shop.collect(apply=True)
    with pytest.raises(Conflict, match="was removed by garbage collection"):
        await register(shop, path)
    await register(shop, put(shop, "uploads/fraud/b/m.tar"))


async def test_an_upload_that_was_left_is_thrown_away(shop: Shop) -> None:
    content = content_of(1)
    begun = (await shop.begin(content)).json()
    await send(begun, content)
    assert (await shop.collect(apply=True))["items"] == [], "it is young"
    storage = shop.settings.storage.model_copy(update={"garbage_grace": timedelta(hours=-1)})
    app = make_app(shop.settings.model_copy(update={"storage": storage}), shop.sessions, cast("Orchestration", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hotswap") as http:
        old = replace(shop, http=http)  # by which everything is old
        told = (await old.collect())["items"]
        assert [(each["artifactPath"], each["isUpload"]) for each in told] == [(begun["artifactPath"], True)]
        assert (await old.collect(apply=True))["items"] == told
    assert not list(MultipartUploads(storage).abandoned("", before=datetime.now(UTC) + timedelta(days=1)))
    assert error_of(await shop.complete(begun["uploadId"])) == (404, "NOT_FOUND")
    anew = (await shop.begin(content)).json()
    assert [part["url"] is not None for part in anew["parts"]] == [True], "nothing of it was left"


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_two_gibibytes_are_sent_in_less_than_300_megabytes(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "model.tar"
    with Path("/dev/urandom").open("rb") as random_bytes, file.open("wb") as written:
        for _ in range(2 * 1024):
            written.write(random_bytes.read(1024**2))
    token = shop.as_(Role.DATA_SCIENTIST)["Authorization"].removeprefix("Bearer ")
    found = await asyncio.to_thread(taken, "push", shop.url, token, str(file), "fraud")
    assert found["peak"] < 300_000_000, found
    assert await asyncio.to_thread(ObjectStorage(shop.settings.storage).size, found["artifactPath"]) == 2 * 1024**3
