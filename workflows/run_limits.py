"""How long the history of a run may become before its workflow continues as a new run.

Temporal takes 2,000 updates and 10,000 signals of a run, and terminates one whose history has 51,200 events or 50 MB.
Callers can cause all of them, and an abort needs room in each. An update that was accepted leaves two events at least
and a signal one, so a run that continues at `MOST_EVENTS` is far from all of them, also when a burst comes meanwhile.
"""

from temporalio import workflow

MOST_EVENTS = 3_000
MOST_BYTES = 4 * 1024 * 1024
"""Runs under way replay by these: change one only behind `workflow.patched`."""


def is_long() -> bool:
    """Return whether this run has become so long that its workflow should continue as a new one."""
    info = workflow.info()
    return (
        info.is_continue_as_new_suggested()
        or info.get_current_history_length() >= MOST_EVENTS
        or info.get_current_history_size() >= MOST_BYTES
    )
