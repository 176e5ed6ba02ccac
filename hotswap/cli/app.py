"""Every command of `hotswap`: its panel, its examples, and what its exit code says."""

import inspect
from collections.abc import Callable

import typer

from hotswap.cli import (
    apply,
    artifacts,
    audit,
    backup,
    curation,
    database,
    decisions,
    deployments,
    drift,
    explain,
    freezes,
    inference,
    keys,
    metrics,
    models,
    monitoring,
    outcome,
    proxies,
    reconcile,
    replay,
    reporting,
    tokens,
    traffic,
    validation,
    watch,
)
from hotswap.cli import stack as stack_commands
from hotswap.cli.console import ErrorsToldGroup
from hotswap.cli.demo import demo
from hotswap.cli.options import examples

_ID = "dep-1a2b3c4d5e6f"

app = typer.Typer(
    name="hotswap",
    cls=ErrorsToldGroup,
    help="Puts new versions of machine-learning models into production without an outage.",
    epilog=examples(
        "hotswap up --detach",
        "hotswap models register fraud-detection 2.0.0 --artifact s3://ml-models/fraud-detection/v2.tar.gz",
        "hotswap deploy fraud-detection --version 2.0.0 --canary-percentage 10 --wait",
        f"hotswap watch {_ID}",
        f'hotswap abort {_ID} --reason "errors at checkout"',
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames would show tokens
    context_settings={"help_option_names": ["-h", "--help"]},
)

STACK, WORK, STEER = "The embedded stack", "Models and deployments", "Steer a deployment"


def _add(panel: str, command: Callable[..., None], *shown: str, codes: str = "") -> None:
    """Register a command with its examples, and with what its exit code says where it follows a deployment."""
    text = f"{inspect.getdoc(command)}\n\n{codes}".strip()
    app.command(rich_help_panel=panel, help=text, epilog=examples(*shown))(command)


_add(STACK, stack_commands.up, "hotswap up", "hotswap up --detach --port-base 20000", "hotswap up --num-gpus 4")
_add(STACK, stack_commands.down, "hotswap down", "hotswap down --data-dir /var/lib/hotswap")
_add(STACK, stack_commands.stop, "hotswap stop worker", "hotswap stop api temporal --kill")
_add(STACK, stack_commands.start, "hotswap start worker")
_add(
    STACK, stack_commands.env, "hotswap env", 'eval "$(hotswap env --shell)"', "hotswap env --json | jq -r .urls.public"
)
app.add_typer(keys.app, name="keys", rich_help_panel=STACK)
_add(STACK, demo, "hotswap demo --port-base 30000", "hotswap demo --data-dir /var/lib/hotswap-demo --keep")
app.add_typer(database.app, name="db", rich_help_panel=STACK)
_add(
    STACK,
    backup.backup,
    "hotswap backup /var/backups",
    "hotswap backup before-upgrade.tar --with-keys",
    "hotswap backup rows.tar --without-artifacts --json | jq -r .createdAt",
)
_add(
    STACK,
    backup.restore,
    "hotswap restore before-upgrade.tar",
    "hotswap restore before-upgrade.tar --replace --with-keys",
)
_add(
    STACK,
    reconcile.reconcile,
    "hotswap reconcile",
    "hotswap reconcile --json | jq -r '.findings[].kind'",
    'hotswap reconcile --repair --reason "after a restore"',
    codes=reconcile.CODES,
)
models.app.command(epilog=examples("hotswap models change fraud-detection --owner ann --tag fraud --tag tier-1"))(
    curation.change
)
models.app.command(
    epilog=examples(
        "hotswap models alias fraud-detection champion 2.0.0",
        "hotswap deploy fraud-detection --version champion",
        "hotswap models alias fraud-detection champion --delete",
    )
)(curation.alias)
models.app.command(
    epilog=examples(
        "hotswap models card fraud-detection 2.0.0", "hotswap models card fraud-detection 2.0.0 --write card.md"
    )
)(curation.card)
models.app.command(
    epilog=examples('hotswap models deprecate fraud-detection 1.0.0 --reason "trained on leaked labels"')
)(curation.deprecate)
models.app.command(epilog=examples("hotswap models archive fraud-detection --reason replaced"))(curation.archive)
models.app.command(
    epilog=examples("hotswap models restore fraud-detection", "hotswap models restore fraud-detection 1.0.0")
)(curation.restore)
models.app.command(epilog=examples("hotswap models validation fraud-detection 2.0.0"))(validation.validation)
models.app.command(
    epilog=examples(
        'hotswap models override fraud-detection 2.0.0 --check latency --reason "reads larger images"',
        "hotswap models override fraud-detection 2.0.0 --withdraw",
    )
)(validation.override)
app.add_typer(models.app, name="models", rich_help_panel=WORK)
_add(
    WORK,
    artifacts.push,
    "hotswap push fraud.tar.gz fraud-detection 2.0.0",
    "hotswap push ./model fraud-detection 2.0.0 --framework XGBoost --metadata baseline.json",
    "hotswap push model.onnx fraud-detection",
)
app.add_typer(artifacts.app, name="artifacts", rich_help_panel=WORK)
_add(
    WORK,
    apply.apply,
    "hotswap apply -f models.yaml --dry-run",
    "hotswap apply -f models/ --yes --json | jq -r '.changes[].deploymentId // empty'",
    "helm template models | hotswap apply -f - --yes",
    codes=apply.CODES,
)
_add(
    WORK,
    deployments.deploy,
    "hotswap deploy fraud-detection --version 2.0.0 --wait --timeout PT1H",
    "hotswap deploy fraud-detection --canary-percentage 5 --increment-step 20 --monitoring-duration PT10M",
    """hotswap deploy fraud-detection --config '{"rollbackThresholds": {"errorRateIncrease": 0.005}}'""",
    "hotswap deploy fraud-detection --environment Staging --replicas 2 --gpus 0.5 --config @canary.json",
    "hotswap deploy fraud-detection --on-conflict queue --start-at 2026-12-27T06:00:00Z",
    "hotswap deploy fraud-detection --version 2.0.0 --dry-run",
    codes=outcome.FORWARD,
)
_add(WORK, deployments.get, "hotswap get", "hotswap get --model fraud-detection --status Active", f"hotswap get {_ID}")
_add(
    WORK,
    watch.watch,
    f"hotswap watch {_ID}",
    f"hotswap watch {_ID} --timeout PT30M --json",
    codes=outcome.FORWARD,
)
_add(WORK, explain.explain, f"hotswap explain {_ID}", f"hotswap explain {_ID} --json | jq '.happenings[-1]'")
_add(
    WORK,
    replay.replay,
    f"hotswap replay {_ID}",
    f"hotswap replay {_ID} --with-policy stricter.toml",
    f"hotswap replay {_ID} --with-policy stricter.json --json | jq -r .end",
)
_add(
    WORK,
    metrics.metrics,
    "hotswap metrics fraud-detection --window PT24H",
    "hotswap metrics fraud-detection --version 2.0.0 --environment Staging --json",
)
_add(
    WORK,
    drift.drift,
    "hotswap drift fraud-detection --now",
    "hotswap drift fraud-detection --environment Staging --json | jq .features",
)
_add(
    WORK,
    monitoring.monitoring,
    "hotswap monitoring fraud-detection",
    "hotswap monitoring fraud-detection --on-degraded rollback --accuracy-drop 0.1",
)
_add(WORK, monitoring.alerts, "hotswap alerts", "hotswap alerts --model fraud-detection --all --json")
_add(
    WORK,
    freezes.freeze,
    "hotswap freeze Production --until 2026-12-27T00:00:00Z --reason holidays",
    'hotswap freeze Staging --until PT2H --reason "load test"',
)
_add(WORK, freezes.thaw, "hotswap thaw Production", "hotswap thaw frz-1a2b3c4d")
_add(WORK, freezes.freezes, "hotswap freezes", "hotswap freezes --environment Production --json")
_add(
    WORK,
    inference.infer,
    "hotswap infer fraud-detection '[0.1, 0.2]'",
    "hotswap infer fraud-detection @instances.json --batch --json",
    "hotswap infer fraud-detection '[0.1, 0.2]' --async --wait --timeout PT5M",
)
_add(
    WORK,
    inference.inference,
    "hotswap inference c0ffee00-0000-4000-8000-000000000000 --json | jq .result",
)
_add(
    WORK,
    reporting.outcome,
    "hotswap outcome c0ffee00-0000-4000-8000-000000000000 malignant",
    "hotswap outcome c0ffee00-0000-4000-8000-000000000000 -- -12.5",
)
app.add_typer(traffic.app, name="traffic", rich_help_panel=STEER)
app.add_typer(proxies.app, name="proxies", rich_help_panel=WORK)
app.add_typer(tokens.app, name="tokens", rich_help_panel=WORK)
_add(
    WORK,
    audit.audit,
    "hotswap audit --actor ann --since PT24H",
    f"hotswap audit {_ID} --json | jq -r '.items[].action'",
)
_add(STEER, decisions.approve, f'hotswap approve {_ID} --reason "checked in staging"', codes=outcome.FORWARD)
_add(STEER, decisions.reject, f'hotswap reject {_ID} --reason "not on a Friday"', codes=outcome.BACK)
_add(STEER, decisions.pause, f'hotswap pause {_ID} --reason "looking into p99"', codes=outcome.FORWARD)
_add(STEER, decisions.resume, f"hotswap resume {_ID}", codes=outcome.FORWARD)
_add(STEER, decisions.goto, f"hotswap goto {_ID} 1", codes=outcome.FORWARD)
_add(STEER, decisions.scale, f'hotswap scale {_ID} 4 --reason "Black Friday"')
_add(STEER, decisions.promote, f"hotswap promote {_ID}", f"hotswap promote {_ID} --full --wait", codes=outcome.FORWARD)
_add(STEER, decisions.abort, f'hotswap abort {_ID} --reason "errors at checkout" --wait', codes=outcome.BACK)
_add(STEER, decisions.retry, f"hotswap retry {_ID} --wait", codes=outcome.FORWARD)
_add(STEER, decisions.rollback, f"hotswap rollback {_ID} --wait --timeout 120", codes=outcome.BACK)
