"""The concurrent reference: the same requests put to both arms over the same time, while the candidate has all traffic.

At 100% nothing runs beside the candidate, and the stable's earlier figures are of another time: a busy machine changes
them as a slow version does. The stable's replicas are still warm, so a few of the clients' requests are put to both
arms' replicas again, past the proxies and in no client's figures. How they are compared is `hotswap/analysis/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hotswap.domain.backtest import Reply, ReplyKind
from hotswap.domain.traffic import Counts, latency_bucket


@dataclass(frozen=True, slots=True)
class ReferenceBudget:
    """The most that is asked again: a share of the clients' requests, and so many a second. A share of 0 asks nothing.

    Each request is put to both arms once.
    """

    share: float = 0.02
    per_second: float = 5.0


@dataclass(frozen=True, slots=True)
class Concurrent:
    """Replies of both arms to the same requests since the step's weight was verified.

    `asked` requests were sent to both. `candidate` and `stable` count their replies as the proxies count answers, with
    the latencies of those that both have answered, as the sender measured them. `candidate_model` and `stable_model`
    map the same buckets to how long the model itself took for these: without the wait for its turn, which only an arm
    with traffic has. They may lack requests whose replicas don't tell. `callers` is how many callers asked them, a
    request of nobody in particular counting as one; None where no caller is known. `reason` says why nothing is asked.
    """

    asked: int = 0
    candidate: Counts = field(default_factory=Counts)
    stable: Counts = field(default_factory=Counts)
    candidate_model: dict[str, int] = field(default_factory=dict)
    stable_model: dict[str, int] = field(default_factory=dict)
    callers: int | None = None
    reason: str | None = None

    def after(self, mine: Reply, theirs: Reply, *, callers: int | None) -> "Concurrent":
        """Return the same with one more request, which the candidate and the stable have replied to."""
        both = mine.kind is theirs.kind is ReplyKind.ANSWERED
        candidate_model, stable_model = self.candidate_model, self.stable_model
        if both and mine.model_seconds is not None and theirs.model_seconds is not None:
            candidate_model = _with(candidate_model, mine.model_seconds)
            stable_model = _with(stable_model, theirs.model_seconds)
        return replace(
            self,
            asked=self.asked + 1,
            candidate=self.candidate + _counted(mine, is_timed=both),
            stable=self.stable + _counted(theirs, is_timed=both),
            candidate_model=candidate_model,
            stable_model=stable_model,
            callers=callers,
            reason=None,
        )


def _counted(reply: Reply, *, is_timed: bool) -> Counts:
    return Counts(
        completed=1,
        server_errors=int(reply.kind is ReplyKind.FAILED),
        client_errors=int(reply.kind is ReplyKind.REFUSED),
        latency={latency_bucket(reply.seconds): 1} if is_timed else {},
    )


def _with(latency: Mapping[str, int], seconds: float) -> dict[str, int]:
    bucket = latency_bucket(seconds)
    return {**latency, bucket: latency.get(bucket, 0) + 1}
