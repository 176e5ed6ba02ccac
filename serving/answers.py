"""Failures of calls to Ray and to replicas, as errors of the domain: no error of httpx leaves an adapter."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from hotswap.domain.errors import Unavailable


@contextmanager
def answering(who: str) -> Iterator[None]:
    """Raise Unavailable where `who` doesn't answer, or answers with an error."""
    try:
        yield
    except httpx.HTTPError as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise Unavailable(f"{who} doesn't answer as it should: {said}") from error


@contextmanager
def readable(who: str) -> Iterator[None]:
    """Raise Unavailable where what is read inside the block is no answer of `who`: another program may listen there."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Unavailable(f"{who} answers what can't be read: {error!r}") from error
