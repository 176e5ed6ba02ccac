"""Resources of the client, whose methods declare calls, and the transport that each resource takes.

A marked method describes a call. On a resource of the synchronous client it returns the answer, and on one of the
asynchronous client an awaitable of the same answer; type checkers see both.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from pydantic import ValidationError

from hotswap.client.calls import Call, Steps, Stream
from hotswap.client.transport import AsyncTransport, Transport, refused

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T", bound=Transport | AsyncTransport)


class ClientResource(Generic[T]):
    """One part of what can be asked. All parts of a client share its connection."""

    def __init__(self, transport: T) -> None:
        self._transport = transport


class _Described(Generic[P, A]):
    """A method that only describes; which transport carries it out is seen where it is called."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Any], carry_out: str) -> None:
        self.describe = describe
        self._carry_out = carry_out
        self.__doc__ = describe.__doc__

    def bound(self, resource: ClientResource[Any]) -> Callable[..., Any]:
        carry_out = getattr(resource._transport, self._carry_out)

        @functools.wraps(self.describe)
        def method(*arguments: Any, **named: Any) -> Any:
            return carry_out(self._description(resource, *arguments, **named))

        del method.__wrapped__  # whose first parameter is the resource
        method.__signature__ = self._signature  # type: ignore[attr-defined]
        return method

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        """The signature that `help` and editors show for a bound method."""
        declared = inspect.signature(self.describe)
        _, *parameters = declared.parameters.values()
        return declared.replace(parameters=parameters, return_annotation=inspect.Signature.empty)

    def _description(self, resource: ClientResource[Any], *arguments: Any, **named: Any) -> Any:
        """Describe the call. Raises ApiError for what the API would refuse, before it is sent."""
        try:
            return self.describe(resource, *arguments, **named)
        except ValidationError as error:
            raise refused(error) from None


class Method(_Described[P, A]):
    """A method that has one answer."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: ClientResource[Transport], owner: type | None = None) -> Callable[P, A]: ...
    @overload
    def __get__(
        self, resource: ClientResource[AsyncTransport], owner: type | None = None
    ) -> Callable[P, Coroutine[Any, Any, A]]: ...
    def __get__(self, resource: ClientResource[Any] | None, owner: type | None = None) -> Any:
        return self if resource is None else self.bound(resource)


class StreamMethod(_Described[P, A]):
    """A method that has many answers."""

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: ClientResource[Transport], owner: type | None = None) -> Callable[P, Iterator[A]]: ...
    @overload
    def __get__(
        self, resource: ClientResource[AsyncTransport], owner: type | None = None
    ) -> Callable[P, AsyncIterator[A]]: ...
    def __get__(self, resource: ClientResource[Any] | None, owner: type | None = None) -> Any:
        return self if resource is None else self.bound(resource)


def call(describe: Callable[Concatenate[Any, P], Call[A]]) -> Method[P, A]:
    """Mark a method that describes one call."""
    return Method(describe, "answer")


def steps(describe: Callable[Concatenate[Any, P], Steps[A]]) -> Method[P, A]:
    """Mark a method that takes several calls for one answer."""
    return Method(describe, "carry_out")


def stream(describe: Callable[Concatenate[Any, P], Stream[A]]) -> StreamMethod[P, A]:
    """Mark a method that yields what its calls find."""
    return StreamMethod(describe, "stream")
