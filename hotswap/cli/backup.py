"""`hotswap backup` and `hotswap restore`: of the embedded stack, or of your own PostgreSQL and S3."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hotswap.bootstrap.layout import Layout, StackError, locate
from hotswap.cli.console import CommandFailed, connect_to_stack, err, out, show_json, shown_at
from hotswap.cli.extras import need
from hotswap.cli.options import AsJson
from hotswap.cli.reconcile import show_findings
from hotswap.cli.stack import DataDir
from hotswap.domain.errors import HotSwapError
from hotswap.schemas.responses import ReconciliationView
from hotswap.stack import lifecycle, part_holds

if TYPE_CHECKING:
    from hotswap.backup.archive import BackupManifest
    from hotswap.backup.restoring import Restored
    from hotswap.stack.environment import Environments
    from hotswap.storage.objects import ObjectStorage

URL = "HOTSWAP_POSTGRES__URL"
WRITERS = ("worker", "recorder")
"""The parts that write to the database without being asked, and that start after the findings were shown."""


@dataclass(frozen=True, slots=True)
class _Installation:
    """The installation that is backed up or restored; `layout` is None for your own servers."""

    database_url: str
    layout: Layout | None

    def objects(self) -> "ObjectStorage":
        from hotswap.settings import ReplicaSettings, StorageSettings, load
        from hotswap.storage.objects import ObjectStorage

        if self.layout is None:
            return ObjectStorage(load(ReplicaSettings).storage)
        return ObjectStorage(StorageSettings.model_validate(_environments(self.layout).section("STORAGE")))


def backup(
    to: Annotated[
        Path, typer.Argument(help="The archive to write, or a directory to write it into.", show_default=False)
    ],
    *,
    with_artifacts: Annotated[
        bool | None,
        typer.Option(
            "--with-artifacts/--without-artifacts",
            help="Include the artifacts in S3. Default: with them for the embedded stack, without for your own S3.",
            show_default=False,
        ),
    ] = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Include the embedded stack's signing keys. Guard the archive as them.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a backup: all rows of one moment, and the artifacts. The installation goes on meanwhile.

    It is a backup of the embedded stack, or of the database of HOTSWAP_POSTGRES__URL if that is set.
    """
    need("server")
    from hotswap.backup.making import make_backup

    now = datetime.now(UTC)
    path = to / f"hotswap-{now:%Y%m%dT%H%M%SZ}.tar" if to.is_dir() else to
    if path.exists():
        raise CommandFailed(f"{path} exists already; choose another name, or a directory")
    installation = _installation(data_dir)
    is_embedded = installation.layout is not None
    keys = _signing_keys(installation) if with_keys else None
    with _failures_told():
        objects = installation.objects() if (is_embedded if with_artifacts is None else with_artifacts) else None
        manifest = make_backup(path, database_url=installation.database_url, objects=objects, signing_keys=keys)
    if as_json:
        show_json({"file": str(path), **_facts(manifest)})
        return
    out.print(f"{path}: {_summary(manifest)}", markup=False, soft_wrap=True)
    left_out = ["the signing keys"] * (not manifest.has_keys) + ["the artifacts"] * (manifest.artifacts is None)
    err.print(
        f"not in it: {', '.join([*left_out, 'passwords, settings and the histories of Temporal'])}",
        markup=False,
        soft_wrap=True,
    )


def restore(
    file: Annotated[Path, typer.Argument(help="The archive of a backup.", exists=True, dir_okay=False)],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete the data that the database has, and restore in its place.")
    ] = False,
    with_artifacts: Annotated[
        bool, typer.Option("--with-artifacts/--without-artifacts", help="Send the archive's artifacts to S3.")
    ] = True,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Let the embedded stack sign with the archive's keys.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup, all of it or nothing, and say how the restored system differs from what runs.

    The embedded stack's API, worker and recorder are stopped meanwhile. For your own servers stop them yourself first.
    """
    need("server")
    from hotswap.backup.restoring import check_backup, restore_backup

    installation = _installation(data_dir)
    layout = installation.layout
    if with_keys and layout is None:
        raise CommandFailed("--with-keys is for the embedded stack; put your own key file in its place yourself")
    url = installation.database_url
    with _failures_told():
        manifest = check_backup(file, database_url=url, replace=replace, with_keys=with_keys)
        objects = installation.objects() if with_artifacts and manifest.artifacts else None
    carry_out = partial(restore_backup, file, database_url=url, objects=objects, replace=replace, with_keys=with_keys)
    found = None
    if layout is None:
        with _failures_told():
            restored = carry_out()
        _say_restored(restored, as_json=as_json)
    else:
        with _stopped(layout) as stopped:
            with _failures_told():
                restored = carry_out()
                if restored.signing_keys is not None:
                    _sign_with(layout, restored.signing_keys)
            _say_restored(restored, as_json=as_json)  # whatever happens to the parts from now on
            found = _findings(layout, stopped)
    if as_json:
        findings = found.to_json()["findings"] if found is not None else None
        show_json({"file": str(file), **_facts(manifest), "revision": restored.revision, "findings": findings})
    elif found is not None:
        show_findings(found, repaired=False)
    else:
        err.print(
            "start the API and the worker, then `hotswap reconcile` says what differs", markup=False, soft_wrap=True
        )


def _say_restored(restored: "Restored", *, as_json: bool) -> None:
    if not as_json:
        out.print(
            f"restored {_summary(restored.manifest)}; the schema is now {restored.revision}",
            markup=False,
            soft_wrap=True,
        )


def _installation(data_dir: Path | None) -> _Installation:
    from hotswap.settings import DatabaseSettings, SettingsError, load

    if data_dir is None and os.environ.get(URL):
        try:
            return _Installation(load(DatabaseSettings).postgres.url.get_secret_value(), None)
        except SettingsError as error:
            raise CommandFailed(str(error)) from None
    layout = locate(data_dir)
    state = lifecycle.read_state(layout)
    if state is None or not state.ready or not lifecycle.is_running(layout):
        raise StackError(f"no stack is ready on {layout.data}, and {URL} is not set; `hotswap up --detach` starts one")
    return _Installation(_environments(layout).postgres_url(), layout)


def _environments(layout: Layout) -> "Environments":
    from hotswap.bootstrap import credentials
    from hotswap.stack.environment import Environments, caller_environment

    state = lifecycle.read_state(layout)
    if state is None:
        raise StackError(f"the stack on {layout.data} has ended; its log: {layout.log('stack')}")
    return Environments(layout, state.ports, credentials.load(layout), caller_environment())


def _signing_keys(installation: _Installation) -> Path:
    if installation.layout is None:
        raise CommandFailed(
            "--with-keys is for the embedded stack; keep your own key file, HOTSWAP_SECURITY__SIGNING_KEY_FILE, apart"
        )
    return _environments(installation.layout).credentials.signing_key_file


def _sign_with(layout: Layout, keys: str) -> None:
    from hotswap.bootstrap import credentials

    credentials.replace_signing_keys(layout, credentials.load(layout), keys)


@contextmanager
def _stopped(layout: Layout) -> Iterator[list[str]]:
    """Stop whatever uses the database, yield which parts that were, and start those again that are down at the end."""
    state = lifecycle.read_state(layout)
    held = part_holds.held(state) if state is not None else []
    stopped = [part for part in ("api", *WRITERS) if part not in held]
    part_holds.hold(layout, stopped, part_holds.PartHold.STOP)
    try:
        yield stopped
    finally:
        part_holds.release(layout, stopped)


def _findings(layout: Layout, stopped: list[str]) -> ReconciliationView | None:
    """Start the API alone and ask it what differs, before a worker repairs anything."""
    if "api" not in stopped:
        return None
    part_holds.release(layout, ["api"])
    with connect_to_stack(layout) as hotswap:
        return hotswap.reconciliation.find()


@contextmanager
def _failures_told() -> Iterator[None]:
    from hotswap.settings import SettingsError

    try:
        yield
    except HotSwapError as error:
        raise CommandFailed(error.message) from None
    except (SettingsError, ValueError) as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(f"{error.filename or 'the archive'}: {error.strerror or error}") from None


def _facts(manifest: "BackupManifest") -> dict[str, object]:
    return {
        "createdAt": manifest.created_at.isoformat(),
        "product": manifest.product,
        "revision": manifest.revision,
        "rows": {each.name: each.rows for each in manifest.tables},
        "artifacts": None if manifest.artifacts is None else len(manifest.artifacts),
        "hasKeys": manifest.has_keys,
    }


def _summary(manifest: "BackupManifest") -> str:
    rows = sum(each.rows for each in manifest.tables)
    artifacts = "no artifacts" if manifest.artifacts is None else f"{len(manifest.artifacts)} artifacts"
    made = f"of {shown_at(manifest.created_at)}, release {manifest.product}, schema {manifest.revision}"
    return f"{rows:,} rows in {len(manifest.tables)} tables and {artifacts} {made}"
