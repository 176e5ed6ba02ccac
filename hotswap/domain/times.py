"""The spelling of a point in time in messages: the same for every reader, whatever the time zone."""

from datetime import UTC, datetime


def written(at: datetime) -> str:
    """Return it in UTC to the second, as RFC 3339 writes it and as requests and commands take it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
