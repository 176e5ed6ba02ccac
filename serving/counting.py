"""Counts that only grow, whatever restarts: Envoy's counters begin at 0 with each of its starts, the agent's don't.

Kept in a file beside Envoy's own, with the last counters seen, so that an agent that starts again goes on where it was.
"""

from pathlib import Path

import msgspec

from hotswap.domain.traffic import Counts
from serving.envoy.admin import Tally
from serving.envoy.files import write_atomically

FORGET_SECONDS = 600.0


class _Kept(msgspec.Struct):
    started_at: float = 0.0
    seen: dict[str, Counts] = {}
    totals: dict[str, Counts] = {}
    touched: dict[str, float] = {}


class GrowingCounts:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.MsgspecError):
            self._kept = _Kept()

    @property
    def totals(self) -> dict[str, Counts]:
        return dict(self._kept.totals)

    def add(self, tally: Tally, *, now: float) -> None:
        """Take in Envoy's counters as they stand at `now` (Unix time, seconds)."""
        kept = self._kept
        started_at = now - tally.uptime
        restarted = started_at > kept.started_at + 2
        for application, counts in tally.counts.items():
            before = kept.seen.get(application, Counts())
            kept.totals[application] = kept.totals.get(application, Counts()) + (
                counts if restarted else _grown(counts, before)
            )
            if counts != before:
                kept.touched[application] = now
        # What Envoy doesn't show any more begins at 0 when it comes again, however high it is by then.
        kept.seen = tally.counts
        kept.started_at = started_at
        for application in [name for name in kept.totals if now - kept.touched.get(name, now) > FORGET_SECONDS]:
            if application not in tally.counts:
                for known in (kept.totals, kept.touched):
                    known.pop(application, None)
        write_atomically(self._path, msgspec.json.encode(kept).decode())


def _grown(counts: Counts, before: Counts) -> Counts:
    """What came since `before`, each figure by itself: one that shrank began at 0 again.

    When a cluster's replicas change, Envoy forgets its errors but neither its answers nor its latencies.
    """
    forgot_latency = any(counts.latency.get(bound, 0) < count for bound, count in before.latency.items())
    since = counts - before
    return Counts(
        completed=counts.completed if since.completed < 0 else since.completed,
        server_errors=counts.server_errors if since.server_errors < 0 else since.server_errors,
        client_errors=counts.client_errors if since.client_errors < 0 else since.client_errors,
        latency=counts.latency if forgot_latency else since.latency,
    )
