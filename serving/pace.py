"""Choice of the predictions that may be made on a replica's event loop: those that are expected to be quick.

While one is made there, nothing else is answered, not even Ray Serve's question for its health; a thread costs a fast
model 50 microseconds and more. So what is larger than anything that was quick goes to the thread, and so does what is
as large as something that was slow lately. It is learnt from every prediction, since a request that was made up to
warm up with says little: where sizes are free, it has the least.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

QUICK_SECONDS = 0.005
MEMORY = 1_000
"""After so many quick predictions a slow one is forgotten: it may have been the machine's doing and not the model's."""

_Found = TypeVar("_Found")


class Pace:
    """The pace of one model, whose instances fit `schema`. A size is how much a prediction has to look at."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._is_fixed = is_fixed(schema)
        self._most_quick = 0
        self._least_slow = math.inf
        self._quick_since = 0

    def size(self, instances: Sequence[Any]) -> int:
        """Return the number of instances if all have one size.

        Otherwise it is the number of their values, and of the letters in texts.
        """
        return len(instances) if self._is_fixed else values_in(instances)

    def is_quick(self, instances: Sequence[Any]) -> bool:
        """Return whether this prediction may be made on the event loop."""
        size = self.size(instances)
        return size <= self._most_quick and size < self._least_slow

    def learn(self, size: int, seconds: float) -> None:
        if seconds > QUICK_SECONDS:
            self._least_slow = min(self._least_slow, size)
            self._quick_since = 0
            return
        self._most_quick = max(self._most_quick, size)
        self._quick_since += 1
        if self._quick_since >= MEMORY:
            self._least_slow = math.inf

    def timed(self, predict: Callable[[Sequence[Any]], _Found], instances: Sequence[Any]) -> tuple[_Found, float]:
        """Predict, and learn how many seconds it took; both are returned.

        An error that came quickly says nothing about its size.
        """
        begun = time.perf_counter()
        has_answered = False
        try:
            found = predict(instances)
            has_answered = True
        finally:
            seconds = time.perf_counter() - begun
            if has_answered or seconds > QUICK_SECONDS:
                self.learn(self.size(instances), seconds)
        return found, seconds


def is_fixed(schema: Any) -> bool:
    """Return whether all values of this JSON Schema have one size; where that is unknown, they don't."""
    if not isinstance(schema, dict):
        return False
    if "anyOf" in schema:
        return all(map(is_fixed, schema["anyOf"]))
    match schema.get("type"):
        case "number" | "integer" | "boolean" | "null":
            return True
        case "array":
            least, most = schema.get("minItems"), schema.get("maxItems")
            return least is not None and least == most and is_fixed(schema.get("items"))
        case "object":
            properties = schema.get("properties", {})
            return schema.get("additionalProperties") is False and all(map(is_fixed, properties.values()))
    return False


def values_in(instances: Sequence[Any]) -> int:
    """Count the values, without recursion: a client's JSON may be nested deeper than Python goes.

    A list of numbers is counted at once.
    """
    left: list[Any] = [instances]
    found = 0
    while left:
        match left.pop():
            case [int() | float(), *_] as numbers:
                found += len(numbers)
            case list() as values:
                left.extend(values)
            case dict() as values:
                left.extend(values.values())
            case str() as text:
                found += len(text)
            case _:
                found += 1
    return found
