"""Artifacts: sent to S3 part by part, straight from here; and those that no version refers to.

What is there already is asked of S3 before anything is sent, so sending the same file again goes on where it was.
"""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import IO
from urllib.parse import urlsplit

import httpx

from hotswap.client.calls import Call, Steps, Work, ask, post, quoted, said
from hotswap.client.models import model_path
from hotswap.client.packing import sha256_of
from hotswap.client.resources import ClientResource, T, call, steps
from hotswap.client.transport import ApiError
from hotswap.schemas.requests import BeginUpload, CollectGarbage
from hotswap.schemas.responses import GarbageView, PartView, UploadView

CHUNK_BYTES = 256 * 1024
AT_ONCE = 4
ROUNDS = 5
"""The most times that a push asks which parts are missing."""
_GOES_ON = frozenset({"UNREACHABLE", "UNEXPECTED_ANSWER", "CONFLICT", "TIMEOUT"})
"""After these it is looked anew at what is there."""
TIMEOUT = httpx.Timeout(60.0, connect=10.0)

UploadProgress = Callable[[int], None]
"""Is told how many bytes are there by now."""


class Artifacts(ClientResource[T]):
    @steps
    def push(self, path: Path, model: str, *, progress: UploadProgress = lambda _: None) -> Steps[UploadView]:
        """Send an archive to where the model's artifacts lie, and answer its path there and its sha256.

        Sent again, also after this process was killed, it is only what is missing. Raises ApiError.
        """
        sha256, size = (yield Work(lambda: sha256_of(path))), path.stat().st_size
        sender = _Sender(path, progress)
        for left in range(ROUNDS, 0, -1):
            upload = yield from ask(_begin(model, sha256=sha256, size_bytes=size, file_name=path.name))
            if upload.completed:
                progress(size)
                return upload
            try:
                yield Work(functools.partial(sender.send, upload))
                return (yield from ask(_complete(model, upload.upload_id)))
            except ApiError as error:
                problem = error
            if left == 1 or problem.code not in _GOES_ON:
                raise problem
        raise AssertionError("unreachable")

    @call
    def begin_upload(self, model: str, *, sha256: str, size_bytes: int, file_name: str) -> Call[UploadView]:
        """Ask which parts of a file S3 lacks, and where to PUT each of them within an hour. The model may be new."""
        return _begin(model, sha256=sha256, size_bytes=size_bytes, file_name=file_name)

    @call
    def complete_upload(self, model: str, upload_id: str) -> Call[UploadView]:
        """Make the artifact of its parts."""
        return _complete(model, upload_id)

    @call
    def collect_garbage(self, *, prefix: str | None = None, apply: bool = False) -> Call[GarbageView]:
        """List the artifacts that no version refers to; with `apply` remove them, up to 1,000 in one call."""
        return post(GarbageView, "/api/v1/artifacts/gc", CollectGarbage(apply=apply, **said({"prefix": prefix})))


def _begin(model: str, *, sha256: str, size_bytes: int, file_name: str) -> Call[UploadView]:
    body = BeginUpload(sha256=sha256, size_bytes=size_bytes, file_name=file_name)
    return post(UploadView, f"{model_path(model)}/uploads", body, repeatable=True)


def _complete(model: str, upload_id: str) -> Call[UploadView]:
    return post(UploadView, f"{model_path(model)}/uploads/{quoted(upload_id)}/complete")


class _Sender:
    """Sends the parts of one file, some at once, each read as it is sent."""

    def __init__(self, path: Path, progress: UploadProgress) -> None:
        self._path = path
        self._progress = progress
        self._lock = Lock()
        self._done = 0

    def send(self, upload: UploadView) -> None:
        """Send what is missing. Raises ApiError for the first part that didn't get through."""
        offsets, offset = {}, 0
        for part in upload.parts:
            offsets[part.number] = offset
            offset += part.size_bytes
        missing = [part for part in upload.parts if part.url is not None]
        self._done = offset - sum(part.size_bytes for part in missing)
        self._progress(self._done)
        with (
            httpx.Client(timeout=TIMEOUT, trust_env=False) as http,
            ThreadPoolExecutor(AT_ONCE, thread_name_prefix="push") as pool,
        ):
            problems = list(pool.map(lambda part: self._put(http, part, offsets[part.number]), missing))
        for problem in problems:
            if problem is not None:
                raise problem

    def _put(self, http: httpx.Client, part: PartView, offset: int) -> ApiError | None:
        assert part.url is not None
        place = urlsplit(part.url).netloc  # the rest of the address is a secret
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                answer = http.put(
                    part.url,
                    content=self._chunks(file, part.size_bytes),
                    headers={"Content-Length": str(part.size_bytes)},
                )
        except httpx.HTTPError as error:
            return ApiError(
                "UNREACHABLE",
                f"S3 at {place} can't be reached from here: {type(error).__name__}. What is there stays for the next"
                " try; HOTSWAP_STORAGE__PUBLIC_ENDPOINT of the API says by which address it is sent",
            )
        if not answer.is_success:
            return ApiError(
                "UNEXPECTED_ANSWER",
                f"S3 at {place} answered part {part.number} with {answer.status_code} {answer.reason_phrase}",
                status=answer.status_code,
            )
        return None

    def _chunks(self, file: IO[bytes], size: int) -> Iterator[bytes]:
        while size and (chunk := file.read(min(size, CHUNK_BYTES))):
            size -= len(chunk)
            yield chunk
            self._count(len(chunk))

    def _count(self, more: int) -> None:
        with self._lock:
            self._done += more
            self._progress(self._done)
