"""The names that both sides of Temporal must agree on."""

TASK_QUEUE = "hotswap"


def watch_queue(task_queue: str) -> str:
    """Return the task queue of watches: they are long and many, and must not starve the activities that act."""
    return f"{task_queue}-watch"


def waiting_queue(task_queue: str) -> str:
    """Return the task queue of waits: they may be many and long, and must not delay activities that act or watch."""
    return f"{task_queue}-waiting"


def way_back_queue(task_queue: str) -> str:
    """Return the task queue of the way back: whatever hangs elsewhere, an abort's first write starts at once."""
    return f"{task_queue}-way-back"


def artifact_queue(task_queue: str) -> str:
    """Return the task queue of artifacts: few at a time, since each may take gigabytes and minutes of a processor."""
    return f"{task_queue}-artifacts"


DEPLOYMENT_MEMO = "deploymentId"
"""The memo with the deployment of a run of workflow `Deployment`; a reset keeps it."""

SEARCH_ATTRIBUTES = {
    "HotSwapModel": "Keyword",
    "HotSwapVersion": "Keyword",
    "HotSwapEnvironment": "Keyword",
    "HotSwapStatus": "Keyword",
    "HotSwapWeight": "Double",
}
"""Registered with the Temporal server before the first workflow starts; the weight is in percent."""
