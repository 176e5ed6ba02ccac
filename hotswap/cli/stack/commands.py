"""`hotswap up`, `hotswap down`, `hotswap env`: the embedded stack's commands, registered by `hotswap.cli`."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from hotswap.cli.stack import holds, lifecycle
from hotswap.cli.stack.events import receive
from hotswap.cli.stack.layout import Layout, StackError, locate
from hotswap.cli.stack.lifecycle import Options
from hotswap.cli.stack.progress import Progress, urls

Parts = Annotated[list[str], typer.Argument(help="Names as in `hotswap env --json`.", show_default=False)]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Where the stack keeps everything.", envvar="HOTSWAP_DATA_DIR", show_default=False),
]


def up(
    *,
    data_dir: DataDir = None,
    port_base: Annotated[
        int | None,
        typer.Option(help="Put all ports at N, N+1, ...; 0: the default ports. Default: as the last time."),
    ] = None,
    num_gpus: Annotated[int | None, typer.Option(help="GPUs that Ray counts with, real or not.")] = None,
    num_cpus: Annotated[int, typer.Option(help="Logical CPUs that Ray counts with.")] = 8,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when all is ready; `hotswap down` stops it.")
    ] = False,
) -> None:
    """Start every server, supervised, and wait until all are ready."""
    if sys.platform != "linux":
        _fail("the embedded stack runs on Linux; elsewhere point the settings at real servers")
    layout = locate(data_dir)
    options = Options(data_dir=str(layout.data), port_base=port_base, num_cpus=num_cpus, num_gpus=num_gpus)
    progress = Progress(Console())
    try:
        code = _detached(options, progress) if detach else _foreground(options, progress)
    except StackError as error:
        _fail(str(error))
    raise typer.Exit(code)


def down(*, data_dir: DataDir = None) -> None:
    """Stop the stack, and whatever an earlier one left behind."""
    layout = locate(data_dir)
    try:
        ran, swept = lifecycle.end(layout)
    except StackError as error:
        _fail(str(error))
    left = f", {swept} left-over processes killed" if swept else ""
    print(f"stopped{left}" if ran or swept else f"no stack runs on {layout.data}")  # noqa: T201


def stop(
    parts: Parts,
    *,
    kill: Annotated[bool, typer.Option("--kill", help="By SIGKILL, as a crash would.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Stop single parts of the running stack and keep them down, until `hotswap start` or the next `hotswap up`."""
    try:
        holds.hold(locate(data_dir), parts, holds.Hold.KILL if kill else holds.Hold.STOP)
    except StackError as error:
        _fail(str(error))
    print(f"down, and kept down: {', '.join(parts)}; `hotswap start` ends it")  # noqa: T201


def start(parts: Parts, *, data_dir: DataDir = None) -> None:
    """Start parts that `hotswap stop` keeps down, and wait until they are ready."""
    try:
        holds.release(locate(data_dir), parts)
    except StackError as error:
        _fail(str(error))
    print(f"ready: {', '.join(parts)}")  # noqa: T201


def env(
    *,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Addresses and process ids by part; no secrets.")] = False,
    shell: Annotated[
        bool, typer.Option("--shell", help="`export` lines for eval, with the development token.")
    ] = False,
) -> None:
    """Say where the running stack is."""
    if as_json == shell:
        _fail("say one of --json and --shell")
    layout = locate(data_dir)
    state = lifecycle.read_state(layout)
    if state is None or not lifecycle.is_running(layout):
        _fail(f"no stack runs on {layout.data}; `hotswap up` starts one")
    if not state.ready:
        _fail(f"the stack on {layout.data} is still starting")
    print(_exports(layout, state) if shell else json.dumps(describe(layout, state), indent=2))  # noqa: T201


def describe(layout: Layout, state: lifecycle.State) -> dict[str, Any]:
    """The running stack without its secrets."""
    from hotswap.cli.stack import processes

    running = [entry for entry in processes.load(layout.processes) if processes.is_alive(entry)]
    return {
        "dataDir": str(layout.data),
        "parts": {
            entry.name: {
                "address": state.addresses.get(entry.name),
                "pid": entry.pid,
                "log": str(layout.log("stack" if entry.name == "supervisor" else entry.name)),
            }
            for entry in running
        },
        "held": holds.held(state),
        "urls": urls(state.ports),
    }


def _exports(layout: Layout, state: lifecycle.State) -> str:
    from hotswap.cli.stack import credentials
    from hotswap.cli.stack.environment import Environments, shell_exports

    return shell_exports(Environments(layout, state.ports, credentials.load(layout), os.environ))


def _foreground(options: Options, progress: Progress) -> int:
    """We are the guardian; a thread shows what the supervisor says."""
    from hotswap.cli.stack.guardian import guard

    reading, writing = os.pipe()

    def show() -> None:
        for event in receive(reading):
            was_ready = progress.ready
            progress.show(event)
            if progress.ready and not was_ready:
                _show_addresses(options.layout, progress)

    reader = threading.Thread(target=show, daemon=True)
    reader.start()
    code = guard(options, writing)
    reader.join(timeout=5)
    return code if progress.ready else code or 1


def _detached(options: Options, progress: Progress) -> int:
    """The guardian runs in the background; we leave when all is ready."""
    layout = options.layout
    if lifecycle.is_running(layout):
        state = lifecycle.read_state(layout)
        if state is None or not state.ready:
            raise lifecycle.already_running(layout)
        print(f"a stack runs on {layout.data} already (process {state.guardian})")  # noqa: T201
        _show_addresses(layout, progress)
        return 0
    reading, writing = os.pipe()
    guardian = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "hotswap.cli.stack.guardian", options.encode(), str(writing)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    for event in receive(reading):
        progress.show(event)
        if progress.ready:
            _show_addresses(layout, progress)
            return 0
    guardian.wait()  # nothing of a failed start may outlive its command
    if not progress.failed:
        raise StackError(f"the supervisor ended; its log: {layout.log('stack')}")
    return 1


def _show_addresses(layout: Layout, progress: Progress) -> None:
    if state := lifecycle.read_state(layout):
        progress.addresses(urls(state.ports))


def _fail(message: str) -> NoReturn:
    print(f"hotswap: {message}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1)
