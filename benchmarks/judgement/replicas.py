"""Stands for both versions' replicas, past the proxies, and for the records of what may be asked of them again."""

import numpy as np

from benchmarks.judgement.requests import LABELS, NOBODY, Answers, Requests
from benchmarks.judgement.world import BEGIN, CANDIDATE_APP, STABLE_APP, World
from hotswap.domain.application import ApplicationHealth, ApplicationState
from hotswap.domain.backtest import BacktestReport, RecordedRequest, RecordedSample, Reply, ReplyKind, spread
from hotswap.domain.vocabulary import RequestForm

MOST_SECONDS = 3_600
"""A backtest's sample is drawn from the requests of at most so many seconds before the rollout."""


class Replicas:
    """Replicas of both versions, which are sent again the requests that are on record."""

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._requests: dict[str, tuple[Requests, int]] = {}

    def records(self, requests: Requests, answers: Answers) -> list[RecordedRequest]:
        """Return the records of requests to which these were the answers."""
        made = []
        for place, caller in enumerate(requests.caller):
            record = RecordedRequest(
                f"r-{len(self._requests)}",
                RequestForm.INSTANCE,
                ({"kind": round(float(requests.kind[place]), 4)},),
                (_name(answers.label[place]),),
                BEGIN + requests.at,
                float(answers.confidence[place]),
                None if caller == NOBODY else int(caller),
            )
            self._requests[record.request_id] = requests, place
            made.append(record)
        return made

    async def applications(self) -> dict[str, ApplicationState]:
        names = (CANDIDATE_APP, STABLE_APP)
        return {name: ApplicationState(name, ApplicationHealth.RUNNING, targets=("replica:1",)) for name in names}

    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        requests, place = self._requests[request.request_id]
        answers = requests.candidate if application == CANDIDATE_APP else requests.stable
        return _reply(answers.at(np.array([place])), self._draw)


class Before:
    """Requests to the stable before the rollout, as far as they are on record."""

    def __init__(self, world: World, replicas: Replicas, draw: np.random.Generator, *, number: int) -> None:
        self._records: list[RecordedRequest] = []
        for second in range(1, MOST_SECONDS):
            if len(self._records) >= number or (second > 60 and not self._records):
                break
            requests = world.before(-second)
            answered = requests.at_places(requests.stable.statuses(draw) < 400)
            self._records += replicas.records(answered, answered.stable)

    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        return RecordedSample(tuple(spread(self._records, most, by=(lambda each: each.caller,))))

    async def store(self, deployment_id: str, report: BacktestReport) -> None: ...


class Lately:
    """Requests to the candidate in the newest seconds."""

    def __init__(self, world: World, replicas: Replicas) -> None:
        self._world = world
        self._replicas = replicas

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        records: list[RecordedRequest] = []
        for requests in reversed(self._world.lately):
            if BEGIN + requests.at <= since or len(records) >= most:
                break
            newest = np.arange(len(requests))[: most - len(records)]
            answered = requests.at_places(newest).at_places(requests.candidate.at(newest).status < 400)
            records += self._replicas.records(answered, answered.candidate)
        return RecordedSample(tuple(records))


def _reply(answers: Answers, draw: np.random.Generator) -> Reply:
    """Return the reply to the one request that these are the answers to."""
    [status] = answers.statuses(draw)
    seconds = float(answers.ms[0]) / 1000
    if status >= 500:
        return Reply(ReplyKind.FAILED, seconds, problem=str(status))
    if status >= 400:
        return Reply(ReplyKind.REFUSED, seconds, field="features.kind", problem=str(status))
    labels = (_name(answers.label[0]),) * int(answers.rows[0])
    return Reply(ReplyKind.ANSWERED, seconds, labels, float(answers.confidence[0]), model_seconds=seconds)


def _name(label: int) -> str:
    return LABELS[label] if label < len(LABELS) else f"class {label}"
