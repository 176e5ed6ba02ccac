"""The traffic plan: which application answers which share of a model's requests.

Weights are in hundredths of a percent, so an arm's weight and the other's always sum to 10000 (invariant 1). A plan is
published whole, with a generation that only grows; each route in it carries the fence (epoch, sequence) of the last
change, so that a late zombie can never bring an old weight back (invariant 5). A generation counts within a lineage:
a database that was restored from a backup has a new lineage, so what proxies confirmed before confirms nothing in it.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import ArmName, Environment

TOTAL_WEIGHT = 10_000


@dataclass(frozen=True, slots=True)
class Arm:
    """One version in a route: its application is also the name of its cluster at the proxies."""

    application: str
    version: str
    deployment_id: str


@dataclass(frozen=True, slots=True)
class Fence:
    """The order of all writers of one route: the epoch grows with each workflow run, the sequence within a run."""

    epoch: int
    sequence: int

    def is_newer_than(self, other: "Fence") -> bool:
        return (self.epoch, self.sequence) > (other.epoch, other.sequence)


@dataclass(frozen=True, slots=True)
class Route:
    """The split of one model's requests in one environment.

    At least one arm is there. Without a stable the candidate has all (a model's first deployment), without a candidate
    the stable has. `fallback` says whether a request that the candidate fails may be asked again of the stable. `shed`
    (hundredths of a percent) is turned away before it is split, while fewer replicas are up than all of it needs.
    `team` is the model's, whose roles count for it beside those that count everywhere.
    """

    environment: Environment
    model: str
    stable: Arm | None
    candidate: Arm | None
    candidate_weight: int
    fence: Fence
    fallback: bool = True
    shed: int = 0
    team: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.shed <= TOTAL_WEIGHT:
            raise ValidationFailed.of("shed", f"{self.shed} is not within 0 to {TOTAL_WEIGHT}")
        if self.stable is None and self.candidate is None:
            raise ValidationFailed(f"the route of {self.model} in {self.environment} has no arm")
        if not 0 <= self.candidate_weight <= TOTAL_WEIGHT:
            raise ValidationFailed.of("weight", f"{self.candidate_weight} is not within 0 to {TOTAL_WEIGHT}")
        if self.stable is None and self.candidate_weight != TOTAL_WEIGHT:
            raise ValidationFailed.of("weight", "a candidate with no stable beside it takes all traffic")
        if self.candidate is None and self.candidate_weight != 0:
            raise ValidationFailed.of("weight", "there is no candidate to give weight to")

    @property
    def arms(self) -> tuple[tuple[ArmName, Arm, int], ...]:
        """Every arm with its weight: the stable first and the candidate last, always.

        The order decides which entities a hash sends to the candidate, so it must never change during a rollout.
        """
        arms = []
        if self.stable is not None:
            arms.append((ArmName.STABLE, self.stable, TOTAL_WEIGHT - self.candidate_weight))
        if self.candidate is not None:
            arms.append((ArmName.CANDIDATE, self.candidate, self.candidate_weight))
        return tuple(arms)

    @property
    def key(self) -> str:
        return route_key(self.environment, self.model)

    @property
    def salt(self) -> str:
        """The salt of sticky hashing: without it the same entities would get every model's candidate first."""
        deployment = self.candidate or self.stable
        assert deployment is not None
        return f"{self.model}:{deployment.deployment_id}"


def route_key(environment: Environment, model: str) -> str:
    return f"{environment}/{model}"


@dataclass(frozen=True, slots=True, order=True)
class PlanNumber:
    """The place of a plan in the order of all plans of an installation."""

    lineage: int
    generation: int

    def __str__(self) -> str:
        return f"{self.generation}" if self.lineage == 0 else f"{self.generation} of lineage {self.lineage}"


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """All routes, as of one generation.

    `lineage` grows whenever the database has gone back, and the generations of a lineage come after all of the one
    before. `installation` is the id of the database's installation; a plan without one is older than these ids.
    """

    generation: int = 0
    routes: tuple[Route, ...] = ()
    lineage: int = 0
    installation: str = ""

    @property
    def number(self) -> PlanNumber:
        return PlanNumber(self.lineage, self.generation)

    @property
    def applications(self) -> frozenset[str]:
        return frozenset(arm.application for route in self.routes for _, arm, _ in route.arms)

    def within(self, environments: Collection[Environment]) -> "TrafficPlan":
        """Return the plan with the routes of these environments only."""
        return replace(self, routes=tuple(route for route in self.routes if route.environment in environments))

    def belongs_beside(self, other: "TrafficPlan") -> bool:
        """Return whether both are plans of one installation, as far as they tell."""
        return not (self.installation and other.installation) or self.installation == other.installation


@dataclass(frozen=True, slots=True)
class TrafficChange:
    """A change of one route by a workflow: it describes the whole route, so applying it twice is applying it once.

    A change without any arm removes the route.
    """

    environment: Environment
    model: str
    deployment_id: str
    sequence: int
    stable: Arm | None
    candidate: Arm | None
    candidate_weight: int
    shed: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """A proxy's counts of its answers for one application since it first met it; every figure only grows.

    `completed` are final answers, the proxy's own 503 and 504 included. `latency` maps the upper bound of a bucket in
    microseconds (as text, since it is JSON's key) to the answers in it, from the request's first byte at the proxy to
    the answer's last. `fell_back` are those that the stable answered in its place. `sticky`, `sticky_errors` and
    `sticky_refused` are the part of `completed`, `server_errors` and `client_errors` that came from a caller who keeps
    its arm.

    Pairs are requests that the stable was asked in the candidate's place: `refused` are those that the candidate
    answered with 4xx, `rescued_refusals` those of them that the stable answered well. The others are the client's
    mistake, since both versions refuse them. `rescued_errors` are the candidate's 5xx that the stable answered well.
    """

    completed: int = 0
    server_errors: int = 0
    client_errors: int = 0
    fell_back: int = 0
    sticky: int = 0
    sticky_errors: int = 0
    latency: dict[str, int] = field(default_factory=dict)
    sticky_refused: int = 0
    refused: int = 0
    rescued_refusals: int = 0
    rescued_errors: int = 0

    @property
    def good(self) -> int:
        """The number of requests that were answered well, with 2xx or 3xx."""
        return self.completed - self.server_errors - self.client_errors

    def __add__(self, other: "Counts") -> "Counts":
        return self._combined(other, sign=1)

    def __sub__(self, other: "Counts") -> "Counts":
        return self._combined(other, sign=-1)

    def latency_quantile_ms(self, quantile: float) -> float | None:
        """Return the upper bound (milliseconds) of the bucket with that quantile (0 to 1); None without answers."""
        return quantile_of(self.latency, quantile)

    def has_shrunk(self, before: "Counts") -> bool:
        """Return whether any figure is below its value `before`: then the counts are not of the same proxies."""
        if any(getattr(self, name) < getattr(before, name) for name in _FIGURES):
            return True
        return any(self.latency.get(bound, 0) < count for bound, count in before.latency.items())

    def since(self, before: "Counts") -> "Counts":
        """Return what came after `before`, each figure by itself: a figure that shrank began at 0 again."""
        grown = self - before
        figures = {name: getattr(self, name) if getattr(grown, name) < 0 else getattr(grown, name) for name in _FIGURES}
        forgot_latency = any(self.latency.get(bound, 0) < count for bound, count in before.latency.items())
        return Counts(**figures, latency=self.latency if forgot_latency else grown.latency)

    def _combined(self, other: "Counts", *, sign: int) -> "Counts":
        buckets = {
            bound: self.latency.get(bound, 0) + sign * other.latency.get(bound, 0)
            for bound in {*self.latency, *other.latency}
        }
        figures = {name: getattr(self, name) + sign * getattr(other, name) for name in _FIGURES}
        return Counts(**figures, latency={bound: count for bound, count in buckets.items() if count})


BUCKETS_PER_OCTAVE = 12
"""Buckets of latencies that aren't counted by a proxy, from one value to its double: each is 6% wide."""


def latency_bucket(seconds: float) -> str:
    """Return the upper bound, as `Counts.latency` has it, of the bucket that contains a latency."""
    return bucket_bound(math.ceil(math.log2(max(seconds * 1_000_000, 1.0)) * BUCKETS_PER_OCTAVE))


def bucket_bound(place: int) -> str:
    """Return the upper bound in microseconds of a bucket; there are `BUCKETS_PER_OCTAVE` to an octave, from 1 on."""
    return f"{2 ** (place / BUCKETS_PER_OCTAVE):.6g}"


def quantile_of(latency: Mapping[str, float], quantile: float) -> float | None:
    """Return the upper bound (milliseconds) of the bucket with that quantile (0 to 1); None without answers."""
    total = sum(latency.values())
    seen = 0.0
    for bound, count in sorted((float(bound), count) for bound, count in latency.items()):
        seen += count
        if count and seen >= quantile * total * (1 - 1e-12):
            return bound / 1000
    return None


_FIGURES = tuple(each.name for each in fields(Counts) if each.name != "latency")


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A candidate that a person took out at a proxy itself: by whom, and when (Unix time).

    It holds for the route that this fence has written (`hotswap/domain/withdrawal.py`).
    """

    environment: Environment
    model: str
    deployment_id: str
    version: str
    fence: Fence
    by: str
    reason: str
    at: float

    @property
    def key(self) -> str:
        return route_key(self.environment, self.model)

    @property
    def message(self) -> str:
        return f"{self.by} took version {self.version} out at this proxy: {self.reason}"

    def holds_for(self, route: Route) -> bool:
        return route.key == self.key and route.fence == self.fence


@dataclass(frozen=True, slots=True)
class ProxyReport:
    """The report of one proxy's agent: the newest plan that Envoy itself confirmed, and its counts.

    `reported_at` is Unix time in seconds by the agent's clock. `problem` quotes what kept the proxy from a newer plan.
    `held` names the routes of that generation, by their key, that go on as they were before, with the reason.
    `replicas` is how many of each application it can route to. `active` are an application's requests that are in
    flight just then; None where the proxy doesn't tell. `incarnation` tells two proxies of one name apart: it is made
    with the proxy's files, and stays as long as they do. `installation` is that of the plan which it has.
    `environments` are those whose requests it takes. `withdrawals` are the candidates that people took out at it.
    """

    proxy: str
    generation: int
    reported_at: float
    counts: dict[str, Counts] = field(default_factory=dict)
    problem: str | None = None
    held: dict[str, str] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    active: dict[str, int] | None = None
    lineage: int = 0
    incarnation: str = ""
    installation: str = ""
    environments: tuple[Environment, ...] = tuple(Environment)
    withdrawals: tuple[Withdrawal, ...] = ()

    @property
    def confirmed(self) -> PlanNumber:
        """The newest plan that Envoy has."""
        return PlanNumber(self.lineage, self.generation)


def total_counts(reports: list[ProxyReport], application: str) -> Counts:
    """Return one application's counts, summed over all proxies."""
    total = Counts()
    for report in reports:
        total += report.counts.get(application, Counts())
    return total
