"""A proxy takes requests once it is registered and has the newest plan, and when nobody can tell it."""

from pathlib import Path

import pytest

from hotswap.settings import TrafficAgentSettings
from serving.envoy.files import are_listeners_open, close_listeners, open_listeners
from serving.public_listeners import OPEN_ANYWAY_SECONDS, NotOpenYet, PublicListeners


class Stopwatch:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> TrafficAgentSettings:
    made = TrafficAgentSettings.model_validate(
        {
            "redis": {"url": "redis://127.0.0.1:1"},
            "ray": {"auth_token": "unused"},
            "security": {"jwks_file": str(tmp_path / "jwks.json")},
            "agent": {"envoy_dir": str(tmp_path)},
        }
    )
    close_listeners(made)
    return made


def test_it_waits_for_its_registration_and_then_for_the_plan(settings: TrafficAgentSettings) -> None:
    listeners = PublicListeners(settings, stopwatch=Stopwatch())
    with pytest.raises(NotOpenYet, match="first report"):
        listeners.open()
    listeners.is_registered = True
    with pytest.raises(NotOpenYet, match="newest plan"):
        listeners.open()
    assert not are_listeners_open(settings.agent.envoy_dir)
    listeners.has_newest_plan = True
    listeners.open()
    assert are_listeners_open(settings.agent.envoy_dir)


def test_where_nobody_answers_it_opens_with_the_plan_that_it_has(settings: TrafficAgentSettings) -> None:
    stopwatch = Stopwatch()
    listeners = PublicListeners(settings, stopwatch=stopwatch)
    stopwatch.now += OPEN_ANYWAY_SECONDS
    with pytest.raises(NotOpenYet):
        listeners.open()
    stopwatch.now += 0.1
    listeners.open()
    assert are_listeners_open(settings.agent.envoy_dir)


@pytest.mark.parametrize("against", ["name_taken", "foreign_plan"])
def test_what_is_against_it_is_never_waited_out(settings: TrafficAgentSettings, against: str) -> None:
    stopwatch = Stopwatch()
    listeners = PublicListeners(settings, stopwatch=stopwatch)
    listeners.is_registered = listeners.has_newest_plan = True
    setattr(listeners, against, "another one is envoy-0")
    stopwatch.now += 10 * OPEN_ANYWAY_SECONDS
    with pytest.raises(NotOpenYet, match="takes no request: another one is envoy-0"):
        listeners.open()
    assert not are_listeners_open(settings.agent.envoy_dir)


def test_a_proxy_that_takes_requests_goes_on_whatever_comes(settings: TrafficAgentSettings) -> None:
    open_listeners(settings)
    listeners = PublicListeners(settings, stopwatch=Stopwatch())
    listeners.name_taken = "another one is envoy-0"
    listeners.open()
    assert are_listeners_open(settings.agent.envoy_dir)
