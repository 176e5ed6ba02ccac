"""The bucket for artifacts."""

from hotswap.settings import ReplicaSettings, load
from hotswap.storage.objects import ObjectStorage


def run() -> None:
    """Make the bucket where there is none."""
    ObjectStorage(load(ReplicaSettings).storage).ensure_bucket()
