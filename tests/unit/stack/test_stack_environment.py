"""Each process is told what it needs and no more; secrets lie in closed files and stay the same."""

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hotswap.bootstrap import credentials, layout
from hotswap.bootstrap.layout import Layout, StackError
from hotswap.domain.vocabulary import Environment, Role
from hotswap.security import jwt
from hotswap.settings import ReplicaSettings, Settings, ShipperSettings, TrafficAgentSettings, load
from hotswap.stack import control_environment
from hotswap.stack.environment import TLS_CERTIFICATE, TLS_KEY, Environments, shell_exports, write_curl_configuration
from hotswap.stack.ports import at_base

BecomeProcess = Callable[[dict[str, str]], None]


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.secrets.mkdir(mode=0o700)
    made.shell.mkdir()
    return made


def environments(place: Layout, caller: dict[str, str] | None = None) -> Environments:
    return Environments(
        place, at_base(20000), credentials.load(place), caller or {"PATH": "/bin", "SECRET_OF_MINE": "x"}
    )


@pytest.fixture
def process_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BecomeProcess:
    """Give this process the environment of another one."""

    def become(environment: dict[str, str]) -> None:
        for name in os.environ.keys() - {"PYTEST_CURRENT_TEST"}:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    monkeypatch.chdir(tmp_path)
    return become


def test_every_process_of_ours_can_read_its_settings(place: Layout, process_of: BecomeProcess) -> None:
    told = environments(place)
    process_of(told.ray())
    assert load(ReplicaSettings).storage.endpoint == "127.0.0.1:20004"
    process_of(told.ours("shipper"))
    load(ShipperSettings)
    process_of(told.ours("agent"))
    assert load(TrafficAgentSettings).gateway.listen_port == 20000
    process_of(told.control())
    settings = load(Settings)
    assert settings.deployments.approval_required == frozenset()
    assert settings.security.signing_key_file is None
    process_of(told.control(signs=True))
    assert load(Settings).security.signing_key_file == place.secrets / "signing_key.json"


def test_the_control_loop_is_told_of_every_section_that_it_reads(place: Layout) -> None:
    set_by_me = {f"HOTSWAP_{section.upper()}__OF_MINE": "x" for section in Settings.model_fields}
    told = environments(place, set_by_me).control()
    assert set_by_me.items() <= told.items()


def test_who_runs_other_peoples_models_sees_no_password_but_that_of_the_artifacts(place: Layout) -> None:
    told, secret = environments(place), credentials.load(place)
    values = "\n".join(told.ray().values())
    for hidden in (secret.postgres_password, secret.valkey_password, secret.ray_token, secret.token):
        assert hidden not in values
    assert "signing_key" not in values
    assert secret.s3_secret_key in values


def test_the_proxy_is_told_of_a_certificate_wherever_the_caller_stands(
    place: Layout, process_of: BecomeProcess
) -> None:
    given = {TLS_CERTIFICATE: "tls.crt", TLS_KEY: "/etc/hotswap/tls.key", "HOTSWAP_GATEWAY__PLAINTEXT": "false"}
    process_of(environments(place, given).ours("agent"))
    gateway = load(TrafficAgentSettings).gateway
    assert (gateway.tls_certificate_file, gateway.tls_key_file) == (Path("tls.crt").absolute(), Path(given[TLS_KEY]))
    assert (gateway.tls_port, gateway.plaintext) == (20021, True)


def test_servers_are_told_no_setting_of_ours_and_nothing_private_of_the_caller(place: Layout) -> None:
    server = environments(place).server()
    assert not [name for name in server if name.startswith("HOTSWAP")]
    assert "SECRET_OF_MINE" not in server


def test_the_callers_settings_win_but_not_over_what_the_stack_owns(place: Layout) -> None:
    caller = {
        "HOTSWAP_DEPLOYMENTS__APPROVAL_REQUIRED": '["Production"]',
        "HOTSWAP_DEPLOYMENTS__MAX_CONCURRENT": "3",
        "HOTSWAP_POSTGRES__URL": "postgresql+psycopg://elsewhere/db",
        "HOTSWAP_TOKEN": "not a setting",
        "TEMPORAL_ADDRESS": "elsewhere:7233",
    }
    told = environments(place, caller).control()
    assert json.loads(told["HOTSWAP_DEPLOYMENTS__APPROVAL_REQUIRED"]) == [Environment.PRODUCTION]
    assert told["HOTSWAP_DEPLOYMENTS__MAX_CONCURRENT"] == "3"
    assert "elsewhere" not in told["HOTSWAP_POSTGRES__URL"] + told["TEMPORAL_ADDRESS"]
    assert "HOTSWAP_TOKEN" not in told


def test_secrets_are_closed_and_stay(place: Layout) -> None:
    first = credentials.load(place)
    before = {file.name: file.read_text() for file in place.secrets.iterdir()}
    second = credentials.load(place)
    assert {file.name: file.read_text() for file in place.secrets.iterdir()} == before
    assert second == first
    write_curl_configuration(place, first, public_port=5000)
    for file in (*place.secrets.iterdir(), place.shell / ".curlrc"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert first.token not in repr(first)


def test_tokens_say_who_and_are_renewed_before_they_end(place: Layout) -> None:
    secret = credentials.load(place)
    jwks = json.loads(secret.jwks_file.read_text())

    def roles(file: Path) -> frozenset[Role]:
        return jwt.verify_token(
            file.read_text(), jwks=jwks, issuer="hotswap", audience="hotswap", now=datetime.now(UTC)
        ).roles

    assert roles(secret.token_file) == {Role.ADMIN}
    assert roles(secret.agent_token_file) == {Role.TRAFFIC_AGENT}
    assert roles(secret.metrics_token_file) == {Role.VIEWER}
    assert roles(secret.inference_token_file) == {Role.APPLICATION}
    old = jwt.issue_token(
        key=credentials.signing_keys(secret)[0],
        issuer="hotswap",
        audience="hotswap",
        subject="developer",
        roles=[Role.ADMIN],
        lifetime=timedelta(hours=23),
        now=datetime.now(UTC),
    )
    secret.token_file.write_text(old)
    credentials.renew_tokens(place, secret)
    assert secret.token != old


def test_curl_finds_token_and_stack_wherever_its_ports_are(place: Layout) -> None:
    secret = credentials.load(place)

    def written(port: int) -> list[str]:
        write_curl_configuration(place, secret, public_port=port)
        return (place.shell / ".curlrc").read_text().splitlines()

    token = f'oauth2-bearer = "{secret.token}"'
    assert written(5000) == [token]
    assert written(20000) == [token, 'connect-to = "localhost:5000:127.0.0.1:20000"']


def test_the_shell_gets_what_the_runbooks_use(place: Layout) -> None:
    exports = shell_exports(environments(place))
    for name in ("TOKEN", "MINIO_USER", "MINIO_PASSWORD", "MC_HOST_local", "CURL_HOME", "TEMPORAL_ADDRESS", "PATH"):
        assert f"export {name}=" in exports


def test_programs_get_the_control_loops_settings(place: Layout) -> None:
    with pytest.raises(StackError, match="no stack was ever started"):
        control_environment(place.data / "absent")
    credentials.load(place)
    settings = control_environment(place.data)
    assert settings["TEMPORAL_ADDRESS"] == "127.0.0.1:7233"
    assert all(name.startswith(("HOTSWAP_", "TEMPORAL_")) for name in settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root does PostgreSQL run as somebody else")
def test_a_place_that_postgresql_cannot_reach_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StackError, match="nobody"):
        layout.create(Layout(closed / "data"))


def test_a_path_that_sqlite_cannot_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="SQLite"):
        layout.create(Layout(tmp_path / "what?"))
