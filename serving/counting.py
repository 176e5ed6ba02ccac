"""Counts that only grow, whatever restarts: Envoy's counters begin at 0 with each of its starts, the agent's don't.

Kept in a file beside Envoy's own, with the last counters seen, so that an agent that starts again goes on where it was.
"""

from collections.abc import Set
from pathlib import Path

import msgspec

from hotswap.domain.traffic import Counts
from hotswap.storage.files import write_atomically
from serving.envoy.admin import AnswerCounters

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

    def add(self, tally: AnswerCounters, *, now: float, serving: Set[str]) -> None:
        """Take in Envoy's counters as they stand at `now` (Unix time, seconds).

        Envoy shows an application for as long as Envoy runs. What is not `serving` any more is forgotten after a while,
        and what never was while this looked is none of ours.
        """
        kept = self._kept
        ours = {name: counts for name, counts in tally.counts.items() if name in serving or name in kept.totals}
        started_at = now - tally.uptime
        restarted = started_at > kept.started_at + 2
        for application, counts in ours.items():
            since = counts if restarted else counts.since(kept.seen.get(application, Counts()))
            if since != Counts():
                kept.totals[application] = kept.totals.get(application, Counts()) + since
                kept.touched[application] = now
        # What Envoy doesn't show any more begins at 0 when it comes again, however high it is by then.
        kept.seen = ours
        kept.started_at = started_at
        for application in kept.totals.keys() - serving:
            if now - kept.touched.get(application, now) > FORGET_SECONDS:
                for known in (kept.totals, kept.touched):
                    known.pop(application, None)
        write_atomically(self._path, msgspec.json.encode(kept))
