"""Commands by which people curate models and versions: aliases, cards, archiving, deprecation, and back.

These are commands of `hotswap models`, as `api/curation.py` has their routes.
"""

from typing import Annotated

import typer

from hotswap.cli.console import connect, err, out, show_json
from hotswap.cli.models import show_version
from hotswap.cli.options import AsJson, ModelArgument, VersionArgument, given
from hotswap.schemas.responses import ModelView


def change(
    model: ModelArgument,
    *,
    description: Annotated[str | None, typer.Option(show_default=False)] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.", show_default=False)] = None,
    team: Annotated[str | None, typer.Option(show_default=False)] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="In place of those it has; may be given several times.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what a model is described by; what isn't given stays as it is."""
    changes = given(description=description, owner=owner, team=team, tags=tag or None)
    if not changes:
        raise typer.BadParameter("nothing is to be changed; give --description, --owner, --team or --tag")
    with connect() as hotswap:
        changed = hotswap.models.change(model, changes)
    _tell(changed, f"{changed.name} has another {', '.join(changes)}", as_json=as_json)


def alias(
    model: ModelArgument,
    alias: Annotated[str, typer.Argument(help="Such as champion.", show_default=False)],
    version: Annotated[str | None, typer.Argument(help="Which version is called so.", show_default=False)] = None,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Let no version be called so.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a version a name, which is taken from the version that had it."""
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
        typer.FileText | None, typer.Option(help="Write it anew from this Markdown file; - reads it from stdin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what people write of a version, or write it."""
    with connect() as hotswap:
        found = (
            hotswap.versions.card(model, version)
            if write is None
            else hotswap.versions.write_card(model, version, write.read())
        )
    if as_json:
        show_json(found)
    elif found.text is None:
        err.print(f"nobody has written of {found.model} {found.version} yet", markup=False)
    else:
        out.print(found.text, markup=False, end="")


def deprecate(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="Which version.", show_default=False)],
    *,
    reason: Annotated[str, typer.Option(help="Told to whoever wants to deploy it.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Let nobody deploy a version any more; where it serves it goes on serving."""
    with connect() as hotswap:
        show_version(hotswap.versions.deprecate(model, version, reason=reason), as_json=as_json)


def archive(
    model: ModelArgument,
    *,
    reason: Annotated[str | None, typer.Option(help="For the audit log.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a model out of use; refused while anything of it serves or is under way."""
    with connect() as hotswap:
        archived = hotswap.models.archive(model, reason=reason)
    _tell(archived, f"{archived.name} is archived", as_json=as_json)


def restore(
    model: ModelArgument,
    version: Annotated[str | None, typer.Argument(help="A deprecated version of it.", show_default=False)] = None,
    *,
    reason: Annotated[str | None, typer.Option(help="For the audit log.")] = None,
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
