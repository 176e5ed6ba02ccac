"""One immutable Ray Serve application per deployment: `serving.replica:build`, with an ApplicationSpec as its args.

The constructor takes the artifact from the node's cache, loads it and warms it up: a replica that Ray Serve calls ready
has answered its golden requests as expected, and one that can't says why in the application's message.
"""

from typing import Any

import msgspec
from ray import serve

from hotswap.domain.application import ApplicationSpec
from hotswap.settings import ReplicaSettings, load
from hotswap.storage.objects import ObjectStorage
from serving.artifacts import ArtifactCache
from serving.engine import Engine
from serving.golden import golden_requests
from serving.inference import InferenceApp, start
from serving.loopback import bind_replica_to_loopback
from serving.runtimes import Terms
from serving.runtimes import load as load_model
from serving.spool import SpoolWriter


@serve.deployment(name="Replica")
@serve.ingress(InferenceApp())
class Replica:
    def __init__(self, args: dict[str, Any]) -> None:
        bind_replica_to_loopback()
        spec = msgspec.convert(args, ApplicationSpec)
        settings = load(ReplicaSettings)
        cache = ArtifactCache(
            settings.serving.cache_dir,
            ObjectStorage(settings.storage),
            max_bytes=settings.serving.cache_max_bytes,
        )
        directory = cache.hold(spec.artifact)
        model = load_model(spec.framework, directory, Terms.of(settings.serving, gpu=spec.resources.gpus > 0))
        spool = SpoolWriter(
            settings.serving.spool_dir, application=spec.name, max_bytes=settings.serving.spool_max_bytes
        )
        try:
            golden = golden_requests(directory)
            start(Engine(spec, model, spool, golden, record_max_bytes=settings.serving.record_max_bytes))
        except Exception:
            spool.close()  # nothing will be written: nobody need wait for this replica's records
            raise


def build(args: dict[str, Any]) -> serve.Application:
    """Build the application; Ray Serve calls this with the args of the application's configuration."""
    return Replica.bind(args)  # type: ignore[attr-defined]
