"""Artifacts, applications, and the cluster with its capacity."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hotswap.domain.application import ApplicationSpec, ApplicationState, Desired
from hotswap.domain.demand import Holding
from hotswap.domain.registry import Inspection, VersionRef
from hotswap.domain.resources import Cluster
from hotswap.domain.validation import ValidationReport
from hotswap.domain.vocabulary import Framework


class Inspector(Protocol):
    """Inspects an artifact without trusting it: streams it, unpacks it safely, and loads it in a process of its own."""

    async def inspect(
        self, uri: str, *, framework: Framework, expected_sha256: str | None, requirements: Sequence[str] = ()
    ) -> Inspection:
        """Fetch, hash, unpack, resolve its requirements and read the schemas.

        Raises ValidationFailed naming `artifactPath`, `checksum`, `framework` or `requirements`, and Unavailable.
        """

    async def validate(self, version: VersionRef) -> ValidationReport:
        """Load the version and run its golden requests; what is wrong with it is in the report, not raised.

        Raises Unavailable while its artifact can't be fetched.
        """


class DesiredApplications(Protocol):
    """The applications that should exist, as rows. Ray Serve is always sent all of them."""

    async def add(self, desired: Desired) -> None:
        """Add an application; an existing row stays as it is."""

    async def remove(self, name: str) -> None:
        """Remove an application's row. Raises Conflict while a route names it: traffic goes first (invariant 4)."""

    async def scale(self, replicas: Mapping[str, int], *, deployment_id: str | None = None) -> None:
        """Set the number of replicas of each of these in one transaction; one without a row is skipped.

        Raises DeploymentMoved when the deployment that asks for it has ended.
        """

    async def one(self, name: str) -> Desired | None:
        """Return one application, also if it is set aside."""

    async def all(self) -> list[Desired]:
        """Return the applications in the order of their names, without those that are set aside."""

    async def orphans(self) -> list[ApplicationSpec]:
        """Return the applications in no route, of models with no open deployment in that environment."""

    async def set_aside(self, name: str, reason: str) -> None:
        """Leave a row out of the PUT, since it makes the whole PUT fail."""

    def writer_lease(self, holder: str) -> AbstractAsyncContextManager["WriterLease"]:
        """Wait for the lease on the Serve configuration and hold it inside the block."""


class WriterLease(Protocol):
    async def remaining(self) -> float:
        """Return for how many seconds the lease is still valid by the database's clock, 0 when lost.

        It is called right before each PUT.
        """


class Capacity(Protocol):
    """The cluster's resources that each deployment holds, by the rows, and those promised to it."""

    async def holdings(self) -> list[Holding]: ...

    async def team(self, model: str) -> str | None: ...

    def planning(self) -> AbstractAsyncContextManager["Planning"]:
        """Allow one plan at a time: a promise made inside the block is seen by the next planner."""


class Planning(Protocol):
    async def holdings(self) -> list[Holding]: ...

    async def team(self, model: str) -> str | None: ...

    async def promise(
        self,
        candidate: Desired,
        *,
        reserved: int,
        stable: Mapping[str, int],
        retire: Collection[str],
        deployment_id: str | None = None,
    ) -> None:
        """Store what a plan takes, before anything of it starts.

        `reserved` candidate replicas are counted from now on while the deployment is under way, also before they exist.
        `stable` is how many replicas its stable keeps, and `retire` lists the applications that are removed. Raises
        DeploymentMoved when the deployment has ended, and Unavailable when a route names one that was to be removed.
        """

    async def resize(
        self, application: str, *, deployment_id: str, replicas: int, by: str, reason: str | None
    ) -> Desired:
        """Set how many replicas carry all of the traffic, also in the row of the deployment that serves with them.

        It is audited under that deployment. Return the application as it was before. Where the replicas scale by load,
        the number is their minimum. Raises NotFound, and Conflict while a deployment of the model is under way in the
        environment, except for one that only goes back.
        """


class ServeCluster(Protocol):
    """Ray Serve's REST API. Every method raises Unavailable while it does not answer as it should."""

    async def put(self, applications: Sequence[Desired]) -> None:
        """Send the whole configuration: it deletes every application that it doesn't name.

        Raises ValidationFailed with Serve's reason when Serve refuses the configuration.
        """

    async def applications(self) -> dict[str, ApplicationState]: ...


class ClusterState(Protocol):
    """Ray's state API. It raises Unavailable while it does not answer as it should."""

    async def resources(self) -> Cluster:
        """Return what the nodes have, and what other programs than HotSwap hold of it."""


class ReplicaProbe(Protocol):
    async def warm_up(self, spec: ApplicationSpec, targets: Sequence[str]) -> None:
        """Send every replica its golden requests, directly to its port, until each has answered all of them.

        Raises ReplicasFailed with the answer that was wrong, and Unavailable where there was no answer.
        """
