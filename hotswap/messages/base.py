"""The names that both sides of Temporal must agree on."""

TASK_QUEUE = "hotswap"


def watch_queue(task_queue: str) -> str:
    """Watches are long and many: a queue of their own keeps them from starving the activities that act."""
    return f"{task_queue}-watch"


def waiting_queue(task_queue: str) -> str:
    """Who waits may be many and for long: neither what acts nor what watches may have to wait for them."""
    return f"{task_queue}-waiting"


DEPLOYMENT_MEMO = "deploymentId"
"""Which deployment a run of workflow `Deployment` works on; a reset keeps it."""

SEARCH_ATTRIBUTES = {
    "HotSwapModel": "Keyword",
    "HotSwapVersion": "Keyword",
    "HotSwapEnvironment": "Keyword",
    "HotSwapStatus": "Keyword",
    "HotSwapWeight": "Double",
}
"""Registered with the Temporal server before the first workflow starts; the weight is in percent."""
