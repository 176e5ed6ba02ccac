"""`hotswap push` and `hotswap artifacts gc`: send artifacts to S3, and remove them from it."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from hotswap.cli.console import CommandFailed, connect, err, out, show_json, show_table, table
from hotswap.cli.models import further_fields, register_and_show
from hotswap.cli.options import AsJson, examples
from hotswap.client.packing import NotPackable, is_archive, pack
from hotswap.domain.vocabulary import Framework, ModelType
from hotswap.schemas.requests import RegisterVersion
from hotswap.schemas.responses import UploadView

GC = examples("hotswap artifacts gc", "hotswap artifacts gc --apply", 'hotswap artifacts gc --prefix "" --json')

app = typer.Typer(help="Remove artifacts from S3 that no version refers to.", epilog=GC, no_args_is_help=True)


def push(
    path: Annotated[
        Path, typer.Argument(help="An archive, or a file or directory to pack.", exists=True, show_default=False)
    ],
    model: Annotated[str, typer.Argument(help="The model's name; it may be new.", show_default=False)],
    version: Annotated[
        str | None, typer.Argument(help="Also register it, as this version.", show_default=False)
    ] = None,
    *,
    framework: Annotated[Framework, typer.Option(help="The framework of the model.")] = Framework.ONNX,
    type: Annotated[ModelType, typer.Option(help="The kind of model.")] = ModelType.OTHER,  # noqa: A002
    metadata: Annotated[
        Path | None, typer.Option(help="JSON file with further fields, such as performanceBaseline.", exists=True)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a model to S3, and register it if a version is given. If it was interrupted, run it again: it resumes."""
    own = ("name", "version", "framework", "artifactPath", "type", "checksum")
    optional = further_fields(metadata, said=own)
    with _archive(path, model) as archive:
        upload = _send(archive, model)
    if version is None:
        _show(upload, as_json=as_json)
        return
    err.print(f"sent to {upload.artifact_path}", markup=False, soft_wrap=True)
    described = {
        "name": model,
        "version": version,
        "framework": framework,
        "artifactPath": upload.artifact_path,
        "type": type,
        "checksum": upload.checksum,
    }
    register_and_show(RegisterVersion(**described | optional), as_json=as_json)


@app.command(epilog=GC)
def gc(
    *,
    prefix: Annotated[
        str,
        typer.Option(help='Only keys with this prefix, which `hotswap push` uses by default. "" is the whole bucket.'),
    ] = "uploads/",
    apply: Annotated[bool, typer.Option("--apply", help="Remove them, instead of only listing them.")] = False,
    as_json: AsJson = False,
) -> None:
    """List artifacts that no version refers to; with --apply remove them. Needs the role Admin."""
    with connect() as hotswap:
        found = hotswap.artifacts.collect_garbage(prefix=prefix, apply=apply)
        while apply and found.more and not as_json:
            err.print(f"removed {len(found.items)}, more follow ...", markup=False)
            found = hotswap.artifacts.collect_garbage(prefix=prefix, apply=True)
    if as_json:
        show_json(found)
        return
    rows = [
        (
            each.artifact_path,
            "an upload that was left" if each.is_upload else f"{each.size_bytes:,}",
            f"{each.modified_at:%Y-%m-%d %H:%M}",
        )
        for each in found.items
    ]
    if rows:
        show_table(table("ARTIFACT", "BYTES", "SINCE", rows=rows))
    more = " and there is more" if found.more else ""
    done = "removed" if found.applied else "would go; --apply removes them"
    err.print(f"{len(rows)} artifacts of {found.total_bytes:,} bytes {done}{more}", markup=False)


@contextmanager
def _archive(path: Path, model: str) -> Iterator[Path]:
    """Yield the archive itself, or one that is packed for as long as it is sent, at the same place each time."""
    if is_archive(path):
        yield path
        return
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hotswap" / "push"
    place = hashlib.sha256(f"{path.resolve()}\0{model}".encode()).hexdigest()[:16]
    packed = base / place / "model.tar"
    err.print(f"packing {path} ...", markup=False, soft_wrap=True)
    try:
        pack(path, packed)
        yield packed
    except NotPackable as problem:
        raise CommandFailed(str(problem)) from None
    finally:
        packed.unlink(missing_ok=True)
        if packed.parent.is_dir():
            packed.parent.rmdir()


def _send(archive: Path, model: str) -> UploadView:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
    with connect() as hotswap, bar:
        task = bar.add_task("sending", total=archive.stat().st_size)
        return hotswap.artifacts.push(archive, model, progress=lambda done: bar.update(task, completed=done))


def _show(upload: UploadView, *, as_json: bool) -> None:
    if as_json:
        show_json(upload)
    else:
        out.print(upload.artifact_path, markup=False, soft_wrap=True)
