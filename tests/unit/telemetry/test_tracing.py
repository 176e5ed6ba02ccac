"""Who isn't told where to send traces sends none and pays nothing; tests/e2e follows one from end to end."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hotswap.settings import TelemetrySettings
from hotswap.telemetry.tracing import start_tracing


@pytest.mark.slow
def test_without_an_endpoint_nothing_is_traced_nor_imported() -> None:
    assert start_tracing("api", TelemetrySettings()) == []
    script = (
        "import sys\n"
        "from hotswap.settings import TelemetrySettings\n"
        "from hotswap.telemetry.tracing import start_tracing\n"
        "start_tracing('api', TelemetrySettings())\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'temporalio'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://localhost:14268/api/traces", "http://localhost:4318"),  # the operations guide's key for Jaeger
        ("http://collector:4318/", "http://collector:4318"),
        ("https://otlp.example.com/tenant/v1/traces", "https://otlp.example.com/tenant"),
    ],
)
def test_the_endpoint_is_understood_as_people_have_it(given: str, meant: str) -> None:
    assert TelemetrySettings(otlp_endpoint=given).otlp_endpoint == meant


@pytest.mark.parametrize(
    "wrong", [{"otlp_endpoint": "localhost:4318"}, {"worker_metrics": "9464"}, {"sampling_rate": 2}]
)
def test_a_wrong_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TelemetrySettings.model_validate(wrong)


@pytest.mark.slow
def test_what_a_caller_says_as_baggage_goes_no_further() -> None:
    """Temporal keeps what travels in a workflow's headers, so only the trace does."""
    script = (
        "from opentelemetry import baggage, propagate\n"
        "from hotswap.settings import TelemetrySettings\n"
        "from hotswap.telemetry.tracing import start_tracing\n"
        "[interceptor] = start_tracing('api', TelemetrySettings(otlp_endpoint='http://127.0.0.1:1'))\n"
        "said = {'baggage': 'secret=abc', 'traceparent': '00-' + 'a' * 32 + '-' + 'b' * 16 + '-01'}\n"
        "context, carried = propagate.extract(said), {}\n"
        "interceptor.text_map_propagator.inject(carried, context)\n"
        "print(baggage.get_all(context), carried)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "{} {'traceparent': '00-" + "a" * 32 + "-" + "b" * 16 + "-01'}\n"
