"""Reads the present state of the models that manifests name."""

from collections.abc import Mapping, Sequence

from hotswap.client import ApiError, HotSwap
from hotswap.manifests.planning import Actual
from hotswap.manifests.schema import Manifest

NEWEST_DEPLOYMENTS = 50
"""The newest deployments of an environment: those under way are among them, and the last that ended."""


def look(hotswap: HotSwap, wanted: Sequence[Manifest]) -> Mapping[str, Actual]:
    """Return the present state of each model, by name. Raises ApiError."""
    return {manifest.name: _look(hotswap, manifest) for manifest in wanted}


def _look(hotswap: HotSwap, manifest: Manifest) -> Actual:
    try:
        model = hotswap.models.get(manifest.name)
    except ApiError as error:
        if error.code == "MODEL_NOT_FOUND":
            return Actual()
        raise
    deployments = [
        each
        for environment in manifest.environments
        for each in hotswap.deployments.list(
            model=model.name, environment=environment.value, limit=NEWEST_DEPLOYMENTS
        ).items
    ]
    versions = {each.version: each for each in hotswap.every(hotswap.versions.list, model.name)}
    monitoring = hotswap.monitoring.get(model.name) if manifest.monitoring is not None else None
    return Actual(model, versions, monitoring, deployments)
