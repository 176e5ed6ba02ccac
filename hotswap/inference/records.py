"""The record of one answered inference: the format that crosses from replica to spool, stream and table.

The key (`requested_at`, `record_id`) is made by the replica and stable from the spool on, so writing a record twice
writes it once. A request id may have several records: one per attempt, and one more from a mirror.
"""

from typing import Any

import msgspec

from hotswap.domain.recording import Withheld
from hotswap.domain.vocabulary import ArmName, ChosenBy, InferenceStatus, RequestForm


class InferenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`requested_at` and `completed_at` are Unix time in seconds; `features` and `prediction` are JSON as text.

    `fallback_from` is the candidate's version that failed or refused this request, where the stable answered instead.
    `entity` is who asked, as a salted hash of 64 bits, where the caller said so. `form` is how the request was spelled,
    and `tensors` is the JSON that describes the tensors of one that was spelled so (`serving.codecs.ParsedRequest`).
    `withheld` says why the features, or some of them, are not there. Records of older replicas have none of these.
    """

    record_id: str
    request_id: str
    environment: str
    model: str
    version: str
    deployment_id: str
    application: str
    arm: ArmName
    attempt: int
    batch: bool
    instances: int
    features: str
    prediction: str | None
    confidence: float | None
    latency_ms: float
    status: InferenceStatus
    error: str | None
    requested_at: float
    completed_at: float
    fallback_from: str | None = None
    chosen_by: ChosenBy = ChosenBy.WEIGHT
    entity: int | None = None
    form: RequestForm | None = None
    tensors: str | None = None
    withheld: Withheld | None = None


STREAM = "hotswap:records"
"""The Redis stream. Each entry has one field, `records`: a msgpack array of records."""

_encoder = msgspec.msgpack.Encoder()
_batches = msgspec.msgpack.Decoder(list[msgspec.Raw])
_records = msgspec.msgpack.Decoder(InferenceRecord)


def encode_record(record: InferenceRecord) -> bytes:
    return _encoder.encode(record)


def encode_batch(records: list[msgspec.Raw]) -> bytes:
    """Wrap records that are encoded already (the spool's frames) without decoding them."""
    return _encoder.encode(records)


def split_batch(batch: bytes) -> list[msgspec.Raw]:
    """Split a batch into records, each still encoded, so that a bad one spoils no other.

    Raises MsgspecError for anything but an array.
    """
    return _batches.decode(batch)


def decode_record(record: bytes | msgspec.Raw) -> InferenceRecord:
    """Decode a record. Raises msgspec.MsgspecError for anything else."""
    return _records.decode(record)


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
