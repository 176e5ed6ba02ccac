"""Who still reports, by the reader's own clock, and sums over proxies that come, leave, fall silent and begin anew."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.proxies import STALE_SECONDS, AnswerCounts, Arms, Sightings, begun, counts_of, gone_on
from hotswap.domain.traffic import Counts, ProxyReport

HOUR = 3_600.0


def report(proxy: str, number: float) -> ProxyReport:
    """Its report of that number; agents write the time by their own clock there."""
    return ProxyReport(proxy, 1, number)


@pytest.mark.parametrize("offset", [0.0, -10.0, 10.0, -HOUR, 1e9], ids=str)
@pytest.mark.parametrize(
    ("reads", "silent", "undecided"),
    [
        pytest.param([(0.0, 0), (0.5, 1)], False, False, id="it has changed since it was read"),
        pytest.param([(0.0, 0)], True, True, id="read for the first time"),
        pytest.param([(0.0, 0), (1.4, 0)], True, True, id="not changed yet"),
        pytest.param([(0.0, 0), (1.5, 0)], True, False, id="not changed for too long after it was found"),
        pytest.param([(0.0, 0), (1.0, 1), (5.0, 1)], False, False, id="made 5 s ago at most"),
        pytest.param([(0.0, 0), (1.0, 1), (5.1, 1)], True, False, id="made more than 5 s ago perhaps"),
        pytest.param([(0.0, 0), (HOUR, 1)], True, True, id="made within the last hour, and nobody knows when"),
        pytest.param([(0.0, 0), (HOUR, 1), (HOUR + 0.5, 2)], False, False, id="so it was read again"),
        pytest.param([(0.0, 0), (HOUR, 1), (HOUR + 1.6, 1)], True, False, id="it was made long ago"),
        pytest.param([(0.0, 0), (9.0, 0), (9.5, 1)], False, False, id="it is heard again"),
    ],
)
def test_a_report_is_as_old_as_the_reader_saw_it(
    reads: list[tuple[float, int]], silent: bool, undecided: bool, offset: float
) -> None:
    sightings = Sightings()
    for now, number in reads:
        sightings.read([report("envoy-0", number + offset)], now=now)
    assert sightings.silent(now=now) == (("envoy-0",) if silent else ())
    assert sightings.is_undecided(now=now) == undecided


def test_one_silent_proxy_is_named_and_says_nothing_of_the_others() -> None:
    sightings = Sightings()
    for second in range(9):
        own = [report(f"envoy-{number}", second) for number in (0, 2)]
        sightings.read([*own, report("envoy-1", 7), *([report("envoy-3", 1)] if second < 4 else [])], now=float(second))
    assert sightings.silent(now=8.0) == ("envoy-1",), "and who has left is not waited for"
    assert sightings.unchanged(now=8.5) == {"envoy-0": 0.5, "envoy-1": 8.5, "envoy-2": 0.5}


@given(
    offset=st.floats(-1e6, 1e6),
    pace=st.floats(0.1, 1.0),
    dies_at=st.floats(0, 30),
    reads=st.lists(st.floats(0.05, 8.0), min_size=2, max_size=20),
)
def test_what_is_taken_for_fresh_is_fresh_whatever_the_proxys_clock_says(
    offset: float, pace: float, dies_at: float, reads: list[float]
) -> None:
    sightings, now = Sightings(), 0.0
    for gap in reads:
        now += gap
        number = int(min(now, dies_at) / pace)
        sightings.read([report("envoy-0", number * pace + offset)], now=now)
        if not sightings.silent(now=now):
            assert now - number * pace <= STALE_SECONDS + 1e-6
        elif gap <= STALE_SECONDS - pace and now < dies_at and len(reads) > 1:
            # Found silent although it reports and was read before: only where nobody knew it, or had looked for long.
            assert sightings.is_undecided(now=now)


BASELINE = Counts(completed=100, server_errors=5, latency={"1000": 95})


def counts(good: int, errors: int = 0) -> Counts:
    return Counts(completed=good + errors, server_errors=errors, latency={"1000": good} if good else {})


def both(good: int, errors: int = 0) -> Arms:
    return Arms(counts(good, errors), counts(good, errors))


def test_counts_are_read_by_the_arms_applications() -> None:
    said = ProxyReport("envoy-0", 1, 0.0, {"a": counts(3), "b": counts(4), "c": counts(9)})
    assert counts_of([said], candidate="b", stable="a") == {"envoy-0": Arms(counts(4), counts(3))}
    assert counts_of([said], candidate="x", stable="a") == {"envoy-0": Arms(Counts(), counts(3))}


@pytest.mark.parametrize(
    ("now", "total"),
    [
        pytest.param({"envoy-0": both(60), "envoy-1": both(45)}, both(5), id="what came since both confirmed"),
        pytest.param({"envoy-0": both(60), "envoy-1": both(39)}, None, id="less than then"),
        pytest.param({"envoy-0": both(60), "envoy-1": both(45), "envoy-2": both(900)}, both(5), id="a third one"),
        pytest.param({"envoy-0": both(900)}, both(0), id="one has left, with nobody knows what"),
    ],
)
def test_a_step_begins_with_what_was_answered_since_its_weight_was_verified(
    now: dict[str, Arms], total: Arms | None
) -> None:
    found = begun(now, baseline=both(100), proxies=("envoy-0", "envoy-1"))
    assert (found and found.total) == total
    assert found is None or found.marks == now


@pytest.mark.parametrize(
    ("now", "more"),
    [
        pytest.param({"envoy-0": both(15), "envoy-1": both(22)}, 7, id="both went on"),
        pytest.param({"envoy-0": both(15)}, 5, id="one has left"),
        pytest.param({"envoy-0": both(15), "envoy-1": both(20), "envoy-2": both(900)}, 5, id="one has come"),
        pytest.param({"envoy-0": both(15), "envoy-1": both(3)}, 5, id="one began anew"),
        pytest.param({"envoy-0": both(15), "envoy-1": both(30, -1)}, 5, id="one figure shrank"),
        pytest.param({}, 0, id="nobody is there"),
    ],
)
def test_each_proxy_adds_what_it_has_more(now: dict[str, Arms], more: int) -> None:
    before = AnswerCounts(both(100), {"envoy-0": both(10), "envoy-1": both(20)})
    after = before.at(now)
    assert after.total == both(100 + more)
    assert after.marks == before.marks | now
    assert after.at(now) == after, "the same reports again add nothing"


def test_who_comes_back_adds_what_it_answered_meanwhile() -> None:
    before = AnswerCounts(both(0), {"envoy-0": both(10), "envoy-1": both(20)})
    away = before.at({"envoy-0": both(11)}).at({"envoy-0": both(12)})
    assert away.at({"envoy-0": both(13), "envoy-1": both(25)}).total == both(8)


@pytest.mark.parametrize(
    ("checkpoint", "total"),
    [
        pytest.param(AnswerCounts(both(90), {"envoy-0": both(10)}), both(105), id="on from it"),
        pytest.param(
            AnswerCounts(both(80), {"envoy-0": both(10)}), both(100), id="a proxy has left since: on from the look"
        ),
        pytest.param(None, both(100), id="there is none: on from the look"),
    ],
)
def test_a_watch_goes_on_from_what_the_one_before_knew(checkpoint: AnswerCounts | None, total: Arms) -> None:
    found = gone_on({"envoy-0": both(25)}, checkpoint=checkpoint, last=both(100))
    assert (found.total, found.marks) == (total, {"envoy-0": both(25)})


@dataclass
class Fleet:
    """Proxies as they are, and what all of them have really answered since the step's weight was verified."""

    counted: dict[str, Counts] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    truth: Counts = field(default_factory=Counts)

    def reports(self) -> dict[str, Arms]:
        return {name: Arms(each, each) for name, each in self.counted.items() if name not in self.away}

    def answer(self, name: str, more: Counts) -> None:
        self.counted[name] = self.counted.get(name, Counts()) + more
        self.truth += more


names = st.sampled_from(["envoy-0", "envoy-1", "envoy-2"])
events = st.one_of(
    st.tuples(st.just("answer"), names, st.integers(0, 20), st.integers(0, 3)),
    st.tuples(st.sampled_from(["leave", "come back", "begin anew", "look", "checkpoint", "watch anew"]), names),
)


@given(st.lists(events, max_size=40))
def test_sums_never_shrink_and_never_tell_more_than_was_answered(happened: list[tuple[str, ...]]) -> None:
    fleet = Fleet({"envoy-0": BASELINE, "envoy-1": Counts()})
    seen = begun(fleet.reports(), baseline=Arms(BASELINE, BASELINE), proxies=("envoy-0", "envoy-1"))
    assert seen is not None
    assert seen.total == Arms()
    checkpoint, is_whole = seen, True
    for what, name, *more in happened:
        before = seen
        match what:
            case "answer":
                fleet.answer(name, counts(*map(int, more)))
                is_whole = is_whole and name != "envoy-2"  # nobody knew it when it began
            case "leave":
                fleet.away.add(name)
            case "come back":
                fleet.away.discard(name)
            case "begin anew":
                is_whole = is_whole and not fleet.counted.get(name, Counts()).completed
                fleet.counted[name] = Counts()
            case "checkpoint":
                checkpoint = seen
            case "watch anew":
                seen = gone_on(fleet.reports(), checkpoint=checkpoint, last=seen.total)
                is_whole = is_whole and not fleet.away
            case _:
                seen = seen.at(fleet.reports())
        assert not seen.total.has_shrunk(before.total)
        assert not Arms(fleet.truth, fleet.truth).has_shrunk(seen.total)
    fleet.away.clear()
    if is_whole:
        assert seen.at(fleet.reports()).total == Arms(fleet.truth, fleet.truth), "and nothing that was seen is lost"
