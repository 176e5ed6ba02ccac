"""Binds the gRPC server of each Ray Serve replica to loopback; Ray opens it on every interface of its machine.

It is for calls between deployments, of which HotSwap makes none: Envoy calls the replicas' HTTP ports, and Ray's own
processes call their actors. Whoever has the cluster's token can run code through it, so it listens on this machine
only. Serve has no setting for its address, hence this private hook; `tests/contracts` notices when it misses.
"""

import importlib
from typing import Any


def bind_replica_to_loopback() -> None:
    """Call it in a replica's constructor, before Serve opens its servers.

    Raises AttributeError when this version of Ray opens them in another way: better no replica than an open one.
    """
    replica: Any = importlib.import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server

    def bind_to_loopback(server: Any, address: str) -> Any:
        return bind(server, f"127.0.0.1:{address.rpartition(':')[2]}")

    replica.add_port_to_grpc_server = bind_to_loopback
