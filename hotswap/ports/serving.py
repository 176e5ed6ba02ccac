"""What serves: artifacts, applications, and the cluster with its room."""

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
    """Looks into an artifact without trusting it: fetched as a stream, unpacked safely, loaded in its own process."""

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
    """The applications that should exist, as rows; what Ray Serve is told is always all of them."""

    async def add(self, desired: Desired) -> None:
        """One that is there already stays as it is."""

    async def remove(self, name: str) -> None: ...

    async def scale(self, replicas: Mapping[str, int]) -> None:
        """Have so many replicas of each of these, all in one transaction; one that isn't there is left out."""

    async def one(self, name: str) -> Desired | None:
        """Also one that is set aside."""

    async def all(self) -> list[Desired]:
        """In the order of their names, without those set aside."""

    async def orphans(self) -> list[ApplicationSpec]:
        """Those that take part in no route, of models with no open deployment in that environment."""

    async def set_aside(self, name: str, reason: str) -> None:
        """Leave a row out of what is PUT, since it makes the whole PUT fail."""

    def writer_lease(self, holder: str) -> AbstractAsyncContextManager["WriterLease"]:
        """Wait for the lease on the Serve configuration and hold it inside the block."""


class WriterLease(Protocol):
    async def remaining(self) -> float:
        """Seconds this holder still has by the database's clock, 0 when lost; asked right before each PUT."""


class Capacity(Protocol):
    """Who holds what of the cluster, by the rows, and what is promised to whom."""

    async def holdings(self) -> list[Holding]: ...

    async def team(self, model: str) -> str | None: ...

    def planning(self) -> AbstractAsyncContextManager["Planning"]:
        """One plan at a time: what is promised inside the block is seen by whoever plans next."""


class Planning(Protocol):
    async def holdings(self) -> list[Holding]: ...

    async def team(self, model: str) -> str | None: ...

    async def promise(
        self, candidate: Desired, *, reserved: int, stable: Mapping[str, int], retire: Collection[str]
    ) -> None:
        """Write down what a plan takes, before anything of it starts.

        `reserved` candidate replicas are counted from now on while the deployment is under way, also before they are
        there. `stable` is how many replicas its stable keeps, and `retire` goes.
        """

    async def resize(
        self, application: str, *, deployment_id: str, replicas: int, by: str, reason: str | None
    ) -> Desired:
        """Have so many replicas for all of the traffic, in the row of the deployment that serves by it as well.

        It is audited under that deployment. Answers how it was. Of what scales by load they are the fewest. Raises
        Conflict while a deployment of its model is under way there, but for one that only goes back, and NotFound.
        """


class ServeCluster(Protocol):
    """Ray Serve's REST API. Every method raises Unavailable while it does not answer as it should."""

    async def put(self, applications: Sequence[Desired]) -> None:
        """PUT the whole configuration: it deletes every application that it doesn't name.

        Raises ValidationFailed when Serve refuses the configuration, with Serve's reason.
        """

    async def applications(self) -> dict[str, ApplicationState]: ...


class ClusterState(Protocol):
    """Ray's state API. It raises Unavailable while it does not answer as it should."""

    async def resources(self) -> Cluster:
        """What its nodes have, and what others than HotSwap hold of it."""


class ReplicaProbe(Protocol):
    async def warm_up(self, spec: ApplicationSpec, targets: Sequence[str]) -> None:
        """Send every replica its golden requests, straight to its own port, until each has answered all.

        Raises ReplicasFailed with the answer that was not sane, and Unavailable where none came.
        """
