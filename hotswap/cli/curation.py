"""Commands by which people curate models and versions: aliases, cards, archiving, deprecation, and back.

These are commands of `hotswap models`, as `api/curation.py` has their routes.
"""

from typing import Annotated

import typer

from hotswap.cli.console import connect, err, out, show_json
from hotswap.cli.models import show_version
from hotswap.cli.options import AsJson, ModelArgument, VersionArgument, given
from hotswap.domain.recording import RecordFeatures
from hotswap.schemas.responses import ModelView


def change(
    model: ModelArgument,
    *,
    description: Annotated[str | None, typer.Option(help="A text about the model.", show_default=False)] = None,
    owner: Annotated[str | None, typer.Option(help="The person who is responsible for it.", show_default=False)] = None,
    team: Annotated[str | None, typer.Option(help="The team that it belongs to.", show_default=False)] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="A tag; replaces the present tags. May be given several times.", show_default=False),
    ] = None,
    record_features: Annotated[
        RecordFeatures | None,
        typer.Option(
            help="The requests whose records have the features, from the next deployment on.", show_default=False
        ),
    ] = None,
    record_sample_rate: Annotated[
        float | None,
        typer.Option(help="The share of the requests that a sample has, such as 0.1.", show_default=False),
    ] = None,
    drop_field: Annotated[
        list[str] | None,
        typer.Option(
            help="A feature that no record has; replaces the present ones. May be given several times.",
            show_default=False,
        ),
    ] = None,
    drop_no_fields: Annotated[
        bool, typer.Option("--drop-no-fields", help="Record all features again, from the next deployment on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change a model: who it belongs to, and what its records keep. Options that are left out change nothing."""
    if drop_field and drop_no_fields:
        raise typer.BadParameter("give --drop-field or --drop-no-fields, not both")
    changes = given(
        description=description,
        owner=owner,
        team=team,
        tags=tag or None,
        recordFeatures=record_features,
        recordSampleRate=record_sample_rate,
        dropFields=[] if drop_no_fields else drop_field or None,
    )
    if not changes:
        raise typer.BadParameter("there is nothing to change; `hotswap models change --help` lists what can be changed")
    with connect() as hotswap:
        changed = hotswap.models.change(model, changes)
    _tell(changed, f"{changed.name} has another {', '.join(changes)}", as_json=as_json)


def alias(
    model: ModelArgument,
    alias: Annotated[str, typer.Argument(help="A name such as champion.", show_default=False)],
    version: Annotated[str | None, typer.Argument(help="The version that gets the alias.", show_default=False)] = None,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the alias.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give an alias to a version, or move it there from another version."""
    if (version is None) != delete:
        raise typer.BadParameter("give a version, or --delete")
    with connect() as hotswap:
        named = (
            hotswap.models.take_alias(model, alias)
            if version is None
            else hotswap.models.give_alias(model, alias, version)
        )
    said = f"{named.name} {named.aliases[alias]}" if version is not None else f"no version of {named.name}"
    _tell(named, f"{said} is called {alias}", as_json=as_json)


def card(
    model: ModelArgument,
    version: VersionArgument,
    *,
    write: Annotated[
        typer.FileText | None, typer.Option(help="Replace the card by this Markdown file; - reads stdin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the card of a version, a text that people write about it, or replace it."""
    with connect() as hotswap:
        found = (
            hotswap.versions.card(model, version)
            if write is None
            else hotswap.versions.write_card(model, version, write.read())
        )
    if as_json:
        show_json(found)
    elif found.text is None:
        err.print(f"{found.model} {found.version} has no card yet; --write FILE adds one", markup=False)
    else:
        out.print(found.text, markup=False, end="")


def deprecate(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="The version's number, id or alias.", show_default=False)],
    *,
    reason: Annotated[
        str, typer.Option(help="The reason, which is shown to people who try to deploy it.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Deprecate a version: it can't be deployed any more, but goes on serving where it is active."""
    with connect() as hotswap:
        show_version(hotswap.versions.deprecate(model, version, reason=reason), as_json=as_json)


def archive(
    model: ModelArgument,
    *,
    reason: Annotated[str | None, typer.Option(help="The reason, for the audit log.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a model out of use. Refused while a version of it serves or a deployment of it is under way."""
    with connect() as hotswap:
        archived = hotswap.models.archive(model, reason=reason)
    _tell(archived, f"{archived.name} is archived", as_json=as_json)


def restore(
    model: ModelArgument,
    version: Annotated[
        str | None,
        typer.Argument(help="A deprecated version to restore. Default: the model itself.", show_default=False),
    ] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="The reason, for the audit log.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take an archived model, or a deprecated version of one, back into use."""
    with connect() as hotswap:
        if version is not None:
            show_version(hotswap.versions.restore(model, version, reason=reason), as_json=as_json)
            return
        restored = hotswap.models.restore(model, reason=reason)
    _tell(restored, f"{restored.name} can be used again", as_json=as_json)


def _tell(model: ModelView, text: str, *, as_json: bool) -> None:
    if as_json:
        show_json(model)
    else:
        out.print(text, markup=False)
