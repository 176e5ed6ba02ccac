"""An upload goes on where it was, is completed once, and ends only when all of it is there."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from hotswap.domain.artifacts import UploadRequest
from hotswap.domain.errors import Conflict, ModelNotFound, NotFound, ValidationFailed
from hotswap.domain.registry import ModelEntry
from hotswap.registry.uploads import PART_BYTES, ArtifactUploads, UploadOffer
from hotswap.settings import StorageSettings
from tests.unit.registry.reading import FakeRegistryReader
from tests.unit.registry.s3 import FakeArtifactStorage, FakeUploadRecords, FakeUploadStorage

SETTINGS = StorageSettings.model_validate({"endpoint": "s3:9000", "access_key": "k", "secret_key": "s"})
NOW = datetime(2030, 1, 1, tzinfo=UTC)
REST = 5
WANTED = UploadRequest("fraud", "ab" * 32, 2 * PART_BYTES + REST, "dora")
SIZES = {1: PART_BYTES, 2: PART_BYTES, 3: REST}


@dataclass
class Shop:
    """The uploads of artifacts, over fakes."""

    uploads: ArtifactUploads
    records: FakeUploadRecords
    s3: FakeUploadStorage

    async def begin(self, wanted: UploadRequest = WANTED) -> UploadOffer:
        return await self.uploads.begin(wanted, file_name="m.tar")

    async def complete(self, offer: UploadOffer) -> datetime | None:
        upload = offer.upload
        return (await self.uploads.complete(upload.upload_id, model=upload.model, by=upload.begun_by)).completed_at

    def send(self, offer: UploadOffer, *numbers: int, size: int | None = None) -> None:
        for number in numbers:
            self.s3.send(str(offer.upload.s3_upload_id), number, size or SIZES[number])


@pytest.fixture
def shop() -> Shop:
    objects = FakeArtifactStorage()
    records, s3 = FakeUploadRecords(NOW), FakeUploadStorage(objects)
    return Shop(ArtifactUploads(SETTINGS, FakeRegistryReader(), records, objects, s3), records, s3)


def missing(offer: UploadOffer) -> list[int]:
    return [part.number for part in offer.parts if part.url is not None]


async def test_an_upload_goes_on_with_the_parts_that_are_missing(shop: Shop) -> None:
    first = await shop.begin()
    assert [(part.number, part.size_bytes) for part in first.parts] == list(SIZES.items())
    assert missing(first) == [1, 2, 3]
    shop.send(first, 1, 3)
    again = await shop.begin()
    assert (again.upload, missing(again)) == (first.upload, [2])


async def test_each_upload_has_a_key_that_nobody_can_guess(shop: Shop) -> None:
    first = (await shop.begin()).upload
    other = (await shop.begin(replace(WANTED, by="carl"))).upload
    assert first.artifact_path.startswith(f"s3://{SETTINGS.bucket}/uploads/fraud/")
    assert first.artifact_path.endswith("/m.tar")
    assert len({first.artifact_path, other.artifact_path, first.upload_id, other.upload_id}) == 4


async def test_it_is_completed_when_all_parts_are_there_and_only_once(shop: Shop) -> None:
    offer = await shop.begin()
    shop.send(offer, 1, 3)
    with pytest.raises(Conflict, match="parts 2 are not there in full; send them first"):
        await shop.complete(offer)
    shop.send(offer, 2)
    assert await shop.complete(offer) == NOW
    assert await shop.complete(offer) == NOW
    assert (await shop.begin()).parts == ()


async def test_a_part_of_another_size_throws_all_of_them_away(shop: Shop) -> None:
    offer = await shop.begin()
    shop.send(offer, 1)
    shop.send(offer, 2, size=7)
    again = await shop.begin()
    assert (missing(again), shop.s3.aborted) == ([1, 2, 3], [offer.upload.s3_upload_id])
    assert again.upload.artifact_path != offer.upload.artifact_path


async def test_what_s3_does_not_put_together_is_thrown_away(shop: Shop) -> None:
    offer = await shop.begin()
    shop.send(offer, 1, 2, 3)
    shop.s3.refuses = True
    with pytest.raises(Conflict, match="S3 doesn't take the parts of"):
        await shop.complete(offer)
    assert shop.s3.aborted == [offer.upload.s3_upload_id]
    with pytest.raises(Conflict, match="S3 no longer has what was sent"):
        await shop.complete(offer)


async def test_parts_that_another_request_has_put_together_are_no_error(shop: Shop) -> None:
    offer = await shop.begin()
    shop.send(offer, 1, 2, 3)
    shop.s3.refuses = True
    shop.s3.objects.sizes[offer.upload.artifact_path] = WANTED.size_bytes
    assert await shop.complete(offer) == NOW


async def test_a_place_that_another_request_took_is_taken_over(shop: Shop) -> None:
    await shop.s3.begin("theirs")
    shop.records.moved_by = "s3-1"
    offer = await shop.begin()
    assert (offer.upload.s3_upload_id, shop.s3.aborted) == ("s3-1", ["s3-2"])


async def test_an_upload_whose_object_is_there_is_complete(shop: Shop) -> None:
    offer = await shop.begin()
    del shop.s3.there[str(offer.upload.s3_upload_id)]
    shop.s3.objects.sizes[offer.upload.artifact_path] = WANTED.size_bytes
    assert (await shop.begin()).upload.completed_at == NOW


async def test_what_can_not_be_sent_is_refused_before_anything_is_written(shop: Shop) -> None:
    with pytest.raises(ValidationFailed, match="are more than the"):
        await shop.begin(replace(WANTED, size_bytes=SETTINGS.max_artifact_bytes + 1))
    with pytest.raises(ValidationFailed, match="must be 1 to 63"):
        await shop.begin(replace(WANTED, model="No Name"))
    assert shop.records.uploads == {}


async def test_an_upload_is_its_callers_alone(shop: Shop) -> None:
    offer = await shop.begin()
    with pytest.raises(NotFound):
        await shop.uploads.complete(offer.upload.upload_id, model="fraud", by="carl")


async def test_a_model_that_is_named_by_its_id_has_its_uploads_under_its_name(shop: Shop, fraud: ModelEntry) -> None:
    uploads = replace(shop.uploads, registry=FakeRegistryReader({fraud.model.model_id: fraud}))
    offer = await uploads.begin(replace(WANTED, model=fraud.model.model_id), file_name="m.tar")
    assert offer.upload.model == fraud.model.name
    with pytest.raises(ModelNotFound):
        await uploads.registry.model("another")
