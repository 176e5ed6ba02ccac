"""`hotswap models`: list, register, show, history and lineage. What people say of them is `curation.py`."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.alias_generators import to_camel

from hotswap.cli.console import connect, err, facts, out, show_json, show_table, table
from hotswap.cli.options import AsJson, ModelArgument, VersionArgument, examples, given, json_object, moment
from hotswap.domain.recording import RecordFeatures
from hotswap.domain.vocabulary import Environment, Framework, ModelType
from hotswap.schemas.requests import RegisterVersion
from hotswap.schemas.responses import ModelView, RegistrationView, VersionView

LIST = examples("hotswap models list --framework ONNX", "hotswap models list --json | jq -r '.items[].name'")
REGISTER = examples(
    "hotswap models register fraud-detection 2.0.0 --artifact s3://ml-models/fraud-detection/v2.tar.gz",
    "hotswap models register churn 1.0.0 --artifact s3://ml-models/churn/1.tar.gz --checksum sha256:0f3a...",
)
SHOW = examples("hotswap models show fraud-detection", "hotswap models show fraud-detection 2.0.0 --json")
HISTORY = examples(
    "hotswap models history fraud-detection --environment Production",
    "hotswap models history fraud-detection --at 2026-12-27T06:00:00Z",
)
LINEAGE = examples("hotswap models lineage fraud-detection 2.0.0", "hotswap models lineage churn champion --json")

app = typer.Typer(
    help="Register and show models and versions, name them, and take them out of use.",
    epilog=examples("hotswap models list", "hotswap models show fraud-detection"),
    no_args_is_help=True,
)


@app.command("list", epilog=LIST)
def list_models(
    *,
    framework: Annotated[Framework | None, typer.Option(help="Only models of this framework.")] = None,
    type: Annotated[ModelType | None, typer.Option(help="Only models of this type.")] = None,  # noqa: A002
    limit: Annotated[int, typer.Option(min=1, max=200, help="The most rows to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the models, and the active versions of each."""
    with connect() as hotswap:
        page = hotswap.models.list(framework=framework, type=type, limit=limit)
    if as_json:
        show_json(page)
        return
    rows = [
        (
            model.name,
            model.framework,
            model.owner,
            ", ".join(f"{environment} {version}" for environment, version in model.active_versions.items()) or None,
            model.model_id,
        )
        for model in page.items
    ]
    show_table(table("MODEL", "FRAMEWORK", "OWNER", "SERVES", "ID", rows=rows))
    if len(page.items) < page.total:
        err.print(f"{page.total - len(page.items)} more; a larger --limit shows them", markup=False)


@app.command(epilog=REGISTER)
def register(
    model: Annotated[str, typer.Argument(help="The model's name; a new name creates the model.", show_default=False)],
    version: Annotated[str, typer.Argument(help="A semantic version, such as 2.0.0.", show_default=False)],
    *,
    artifact: Annotated[str, typer.Option(help="The artifact's address: s3://bucket/key.", show_default=False)],
    framework: Annotated[Framework, typer.Option(help="The framework of the model.")] = Framework.ONNX,
    type: Annotated[ModelType, typer.Option(help="The kind of model.")] = ModelType.OTHER,  # noqa: A002
    description: Annotated[str | None, typer.Option(help="A text about the model.")] = None,
    owner: Annotated[str | None, typer.Option(help="The person who is responsible for it. Default: you.")] = None,
    team: Annotated[str | None, typer.Option(help="The team that the model belongs to.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the model. May be given several times.")] = None,
    checksum: Annotated[
        str | None, typer.Option(help="The sha256 that the artifact must have, or the registration fails.")
    ] = None,
    derived_from: Annotated[
        list[str] | None,
        typer.Option(
            help="A version that it was made from: 1.0.0 or churn:1.0.0. May be given several times.",
            show_default=False,
        ),
    ] = None,
    idempotent: Annotated[
        bool | None,
        typer.Option(
            "--idempotent/--not-idempotent",
            help="Whether the stable may answer what a candidate fails. Default: as it is, yes for a new model.",
            show_default=False,
        ),
    ] = None,
    requirement: Annotated[
        list[str] | None,
        typer.Option(help="A package that it needs, such as 'lifelines>=0.27'. May be given several times."),
    ] = None,
    allows_non_finite: Annotated[
        bool,
        typer.Option(
            "--allows-non-finite",
            help="Allow NaN and infinity in answers, which clients get as null; otherwise they are failures.",
        ),
    ] = False,
    metadata: Annotated[
        Path | None, typer.Option(help="JSON file with further fields, such as performanceBaseline.", exists=True)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register a version, and wait for the end: its artifact is fetched, hashed and inspected."""
    described = given(
        name=model,
        version=version,
        framework=framework,
        artifactPath=artifact,
        type=type,
        description=description,
        owner=owner,
        team=team,
        tags=tag or None,
        checksum=checksum,
        derivedFrom=[_made_from(each) for each in derived_from or ()] or None,
        idempotent=idempotent,
        requirements=requirement or None,
        allowsNonFinite=allows_non_finite or None,
    )
    more = further_fields(metadata, said=described)
    register_and_show(RegisterVersion(**described | more), as_json=as_json)


def further_fields(metadata: Path | None, *, said: Iterable[str]) -> dict[str, Any]:
    """Read the file of --metadata. Raises BadParameter for a field that the command says itself."""
    if metadata is None:
        return {}
    more = json_object(f"@{metadata}", name="--metadata")
    if twice := sorted({to_camel(name) for name in more} & {*said}):
        raise typer.BadParameter(
            f"has {', '.join(twice)}, which the command sets itself; remove it from the file", param_hint="--metadata"
        )
    return more


def register_and_show(request: RegisterVersion, *, as_json: bool) -> None:
    """Register, wait for the end, and show the version."""
    with connect() as hotswap:
        seen = hotswap.models.register(request)
        if isinstance(seen, RegistrationView):
            err.print(
                f"{request.name} {request.version} is being registered by workflow {seen.workflow_id} ...", markup=False
            )
            seen = hotswap.versions.await_registration(request.name, request.version)
    show_version(seen, as_json=as_json)


@app.command(epilog=SHOW)
def show(
    model: ModelArgument,
    version: Annotated[str | None, typer.Argument(help="Show this version of it, in full.", show_default=False)] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a model with its versions, or one version in full."""
    with connect() as hotswap:
        if version is not None:
            show_version(hotswap.versions.get(model, version), as_json=as_json)
            return
        found, versions = hotswap.models.get(model), hotswap.versions.list(model, limit=200)
    if as_json:
        show_json({**found.to_json(), "versions": [each.to_json() for each in versions.items]})
        return
    active = {environment.value: number for environment, number in found.active_versions.items()}
    show_table(
        facts(
            ("model", found.name),
            ("id", found.model_id),
            ("description", found.description),
            ("framework", found.framework),
            ("type", found.type),
            ("owner", found.owner),
            ("team", found.team),
            ("tags", ", ".join(found.tags)),
            ("idempotent", "yes" if found.idempotent else "no"),
            ("records features of", _recorded(found)),
            ("serves", ", ".join(f"{environment} {number}" for environment, number in active.items())),
            ("aliases", ", ".join(f"{alias} {number}" for alias, number in found.aliases.items())),
        )
    )
    out.print()
    rows = [
        (
            each.version,
            each.status,
            f"{each.artifact_size_bytes:,}",
            each.checksum[:12],
            f"{each.created_at:%Y-%m-%d %H:%M}",
        )
        for each in versions.items
    ]
    show_table(table("VERSION", "STATUS", "BYTES", "SHA256", "REGISTERED", rows=rows))


def _recorded(model: ModelView) -> str:
    """Return which requests' records have the features, and which features they don't have."""
    is_sample = model.record_features is RecordFeatures.SAMPLE
    told = f"a sample, {model.record_sample_rate:g} of the requests" if is_sample else f"{model.record_features}"
    return f"{told}, without {', '.join(model.drop_fields)}" if model.drop_fields else told


@app.command(epilog=HISTORY)
def history(
    model: ModelArgument,
    *,
    environment: Annotated[Environment | None, typer.Option(help="Only this environment.")] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="Only versions that served at this time: 2026-12-27T06:00:00Z.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="The most rows to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show which versions have served, when, and who activated them."""
    with connect() as hotswap:
        page = hotswap.models.history(model, environment=environment, at=at, limit=limit)
    if as_json:
        show_json(page)
        return
    rows = [
        (
            each.version,
            each.environment,
            f"{each.since:%Y-%m-%d %H:%M:%S %Z}",
            f"{each.until:%Y-%m-%d %H:%M:%S %Z}" if each.until is not None else "now",
            each.initiated_by,
            ", ".join(each.approved_by) or None,
            f"{each.kind} {each.deployment_id}",
        )
        for each in page.items
    ]
    show_table(table("VERSION", "ENVIRONMENT", "SINCE", "UNTIL", "BY", "APPROVED BY", "DEPLOYMENT", rows=rows))


@app.command(epilog=LINEAGE)
def lineage(
    model: ModelArgument,
    version: VersionArgument,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a version was made from, and what was made from it."""
    with connect() as hotswap:
        found = hotswap.versions.lineage(model, version)
    if as_json:
        show_json(found)
        return
    numbers = {each.version_id: f"{each.model} {each.version}" for each in (*found.ancestors, *found.descendants)}
    numbers[found.version_id] = f"{found.model} {found.version}"
    rows = [
        (
            f"{each.distance} {direction}",
            f"{each.model} {each.version}",
            ", ".join(numbers.get(parent, parent) for parent in each.derived_from) or None,
            each.version_id,
        )
        for direction, side in (("back", reversed(found.ancestors)), ("on", found.descendants))
        for each in side
    ]
    if not rows:
        err.print(
            f"no version is known that {found.model} {found.version} was made from, or that was made from it",
            markup=False,
        )
    show_table(table("GENERATIONS", "VERSION", "MADE FROM", "ID", rows=rows))


def _made_from(said: str) -> dict[str, str]:
    model, found, version = said.rpartition(":")
    return {"model": model, "version": version} if found else {"version": version}


def show_version(version: VersionView, *, as_json: bool) -> None:
    """Print a version in full."""
    if as_json:
        show_json(version)
    else:
        show_table(_facts(version))


def _facts(version: VersionView) -> Any:
    return facts(
        ("model", version.model),
        ("version", version.version),
        ("id", version.version_id),
        ("status", version.status),
        ("deprecated", version.deprecation),
        ("aliases", ", ".join(version.aliases)),
        ("framework", version.framework),
        ("artifact", version.artifact_path),
        ("sha256", version.checksum),
        ("bytes", f"{version.artifact_size_bytes:,}"),
        ("input", version.input_schema),
        ("output", version.output_schema),
        ("non-finite answers", "allowed" if version.allows_non_finite else None),
        ("baseline", version.performance_baseline),
        ("approved by", version.approved_by),
        ("registered", f"{version.created_at:%Y-%m-%d %H:%M:%S %Z} by {version.created_by}"),
    )
