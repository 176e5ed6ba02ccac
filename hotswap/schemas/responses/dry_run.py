"""What a deployment would do, if it were started."""

from datetime import datetime
from typing import Any

from pydantic import Field

from hotswap.domain.vocabulary import Environment, Strategy
from hotswap.schemas.responses.base import View
from hotswap.schemas.responses.deployments import StepView


class DifferenceView(View):
    """`path` such as `inputSchema.properties.amount.type`; null is what isn't there on that side."""

    path: str
    now: Any
    then: Any


class ContractChangeView(View):
    """What clients would notice, in words. Where it `narrows`, they would be refused or lack something.

    `field` is a place in a request or an answer, such as `features.amount` or `outputs.label`.
    """

    field: str
    message: str
    narrows: bool


class RefusalView(View):
    """What `POST /deployments` would answer as an error now; `code` is that error's."""

    code: str
    message: str


class GpuSumView(View):
    """Replicas times GPUs of each arm in full; `peak` is the most that both have at one time."""

    candidate: float
    stable: float
    peak: float


class ServingView(View):
    """What serves in an environment now."""

    version: str
    deployment_id: str
    since: datetime


class DryRunView(View):
    """What a deployment would do, if it were started now; nothing was.

    It `wouldBeAccepted` when there are no `refusals`. Seconds are those of the backtest and the steps: `leastSeconds`
    where no request is on record, each bake passes at its end and each pause is ended at once, `mostSeconds` where the
    backtest asks for all of its `backtestSeconds`, bakes are extended and pauses last to their limits; null where a
    pause has none. `capacity` is by which way the two versions would get past each other,
    null where they can't or Ray doesn't say. Without `serving` it would be the first here, with no `contract` to keep
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
