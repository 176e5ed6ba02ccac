"""The result of a dry run: what a deployment would do, if it were started."""

from datetime import datetime
from typing import Any

from pydantic import Field

from hotswap.domain.vocabulary import Environment, Strategy
from hotswap.schemas.responses.base import View
from hotswap.schemas.responses.deployments import StepView


class DifferenceView(View):
    """A difference at `path`, such as `inputSchema.properties.amount.type`; null if that side has nothing there."""

    path: str
    now: Any
    then: Any


class ContractChangeView(View):
    """A change that clients would notice, in words. If it `narrows`, clients would be refused or lack something.

    `field` is a place in a request or an answer, such as `features.amount` or `outputs.label`.
    """

    field: str
    message: str
    narrows: bool


class RefusalView(View):
    """An error with which `POST /deployments` would answer now; `code` is that error's."""

    code: str
    message: str


class GpuSumView(View):
    """The GPUs of all replicas of each arm; `peak` is the most that both have at one time."""

    candidate: float
    stable: float
    peak: float


class ServingView(View):
    """The active version of an environment."""

    version: str
    deployment_id: str
    since: datetime


class DryRunView(View):
    """The result that a deployment would have, if it were started now; nothing was started.

    It `wouldBeAccepted` when there are no `refusals`. Seconds are those of the backtest and the steps. `leastSeconds`
    holds if no request is on record, each bake passes at its end, and each pause is ended at once. `mostSeconds` holds
    if the backtest takes all of its `backtestSeconds`, bakes are extended, and pauses last to their limits; it is null
    if a pause has no limit. `capacity` says how both versions would share the cluster; it is null if they can't, or if
    Ray doesn't say. Without `serving` the version would be the first in the environment, with no `contract` to keep
    and no `differences`.
    """

    model: str
    version: str
    environment: Environment
    strategy: Strategy
    would_be_accepted: bool
    refusals: list[RefusalView]
    approval_required: bool
    steps: list[StepView]
    least_seconds: float
    most_seconds: float | None
    backtest_seconds: float = 0.0
    gpus: GpuSumView
    capacity: str | None = None
    serving: ServingView | None
    contract: list[ContractChangeView] = Field(default_factory=list)
    differences: list[DifferenceView]
