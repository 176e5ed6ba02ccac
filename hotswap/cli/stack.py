"""`hotswap up`, `down`, `stop`, `start`, `env`: the embedded stack's commands, registered by `hotswap.cli.app`.

A StackError is told by the group of commands as any other failure.
"""

import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from hotswap.bootstrap.layout import Layout, StackError, locate
from hotswap.cli.console import err, facts, out, show_json, show_table, table
from hotswap.cli.extras import need
from hotswap.cli.options import AsJson, duration
from hotswap.stack import lifecycle, part_holds
from hotswap.stack.events import StackEvent, receive
from hotswap.stack.lifecycle import Options
from hotswap.stack.progress import StartProgress, urls

PartsArgument = Annotated[
    list[str], typer.Argument(help="Names of parts, as in `hotswap env --json`.", show_default=False)
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="The directory of the stack's data.", envvar="HOTSWAP_DATA_DIR", show_default=False
    ),
]


def up(
    *,
    data_dir: DataDir = None,
    port_base: Annotated[
        int | None,
        typer.Option(help="Use ports from this one on; 0: the default ports. Default: the ports of the last start."),
    ] = None,
    num_gpus: Annotated[int | None, typer.Option(help="GPUs that Ray counts, real or simulated.")] = None,
    num_cpus: Annotated[int, typer.Option(help="Logical CPUs that Ray counts.")] = 8,
    timeout: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            envvar="HOTSWAP_START_TIMEOUT",
            help="How long the start may take, such as PT5M on a slow machine. A part that isn't ready after half "
            "of it is restarted.",
        ),
    ] = timedelta(minutes=2),
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="Return when all is ready, and leave the stack running; `hotswap down` stops it."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the stack of real servers under a supervisor, and wait until all are ready.

    --json prints the same as `hotswap env --json`.
    """
    if sys.platform != "linux":
        raise StackError("the embedded stack runs on Linux; elsewhere point the settings at real servers")
    need("server", "embedded")
    layout = locate(data_dir)
    options = Options(
        data_dir=str(layout.data),
        port_base=port_base,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        start_seconds=timeout.total_seconds(),
    )
    shown = _Shown(layout, StartProgress(err if as_json else out), as_json=as_json)
    raise typer.Exit(_detached(options, shown) if detach else _foreground(options, shown))


def down(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the stack, and kill processes that an earlier one left behind."""
    layout = locate(data_dir)
    ran, swept = lifecycle.end(layout)
    if as_json:
        show_json({"dataDir": str(layout.data), "stopped": ran, "killed": swept})
        return
    left = f", {swept} left-over processes killed" if swept else ""
    out.print(f"stopped{left}" if ran or swept else f"no stack runs on {layout.data}", markup=False, soft_wrap=True)


def stop(
    parts: PartsArgument,
    *,
    kill: Annotated[bool, typer.Option("--kill", help="Kill them with SIGKILL, like a crash.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Stop single parts of the running stack, and keep them down until `hotswap start` or the next `hotswap up`."""
    part_holds.hold(locate(data_dir), parts, part_holds.PartHold.KILL if kill else part_holds.PartHold.STOP)
    if as_json:
        show_json({"held": parts})
    else:
        out.print(f"down, and kept down: {', '.join(parts)}; `hotswap start` ends it", markup=False, soft_wrap=True)


def start(parts: PartsArgument, *, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Start parts that `hotswap stop` keeps down, and wait until they are ready."""
    part_holds.release(locate(data_dir), parts)
    if as_json:
        show_json({"ready": parts})
    else:
        out.print(f"ready: {', '.join(parts)}", markup=False, soft_wrap=True)


def env(
    *,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON, without secrets.")] = False,
    shell: Annotated[
        bool, typer.Option("--shell", help="Print `export` lines for eval, with the development token.")
    ] = False,
) -> None:
    """Show the running stack: the address, process id and log of each part."""
    if as_json and shell:
        raise typer.BadParameter("give --json or --shell, not both")
    layout = locate(data_dir)
    state = lifecycle.read_state(layout)
    if state is None or not lifecycle.is_running(layout):
        raise StackError(f"no stack runs on {layout.data}; `hotswap up` starts one")
    if not state.ready:
        raise StackError(f"the stack on {layout.data} is still starting; its log: {layout.log('stack')}")
    if shell:
        print(_exports(layout, state))  # noqa: T201 - for eval, not for a person
        return
    described = describe(layout, state)
    if as_json:
        show_json(described)
        return
    rows = [(name, each["address"], each["pid"], each["log"]) for name, each in described["parts"].items()]
    show_table(table("PART", "ADDRESS", "PID", "LOG", rows=rows))
    out.print()
    show_table(facts(*described["urls"].items(), ("kept down", ", ".join(described["held"]))))


def describe(layout: Layout, state: lifecycle.State) -> dict[str, Any]:
    """Return the running stack without its secrets."""
    from hotswap.stack import processes

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
        "held": part_holds.held(state),
        "urls": urls(state.ports),
    }


def _exports(layout: Layout, state: lifecycle.State) -> str:
    need("server")
    from hotswap.bootstrap import credentials
    from hotswap.stack.environment import Environments, shell_exports

    return shell_exports(Environments(layout, state.ports, credentials.load(layout), os.environ))


class _Shown:
    """The output of a start: a line per event, and the addresses of the stack when all is ready."""

    def __init__(self, layout: Layout, progress: StartProgress, *, as_json: bool) -> None:
        self._layout = layout
        self._as_json = as_json
        self.progress = progress

    def event(self, event: StackEvent) -> None:
        was_ready = self.progress.ready
        self.progress.show(event)
        if self.progress.ready and not was_ready:
            self.addresses()

    def addresses(self) -> None:
        if state := lifecycle.read_state(self._layout):
            if self._as_json:
                show_json(describe(self._layout, state))
            else:
                self.progress.addresses(urls(state.ports))


def _foreground(options: Options, shown: _Shown) -> int:
    """Run the guardian in this process, while a thread shows what the supervisor says."""
    from hotswap.stack.guardian import guard

    reading, writing = os.pipe()

    def show() -> None:
        for event in receive(reading):
            shown.event(event)

    reader = threading.Thread(target=show, daemon=True)
    reader.start()
    code = guard(options, writing)
    reader.join(timeout=5)
    return code if shown.progress.ready else code or 1


def _detached(options: Options, shown: _Shown) -> int:
    """Start the guardian in the background, and return when all is ready."""
    layout = options.layout
    if lifecycle.is_running(layout):
        state = lifecycle.read_state(layout)
        if state is None or not state.ready:
            raise lifecycle.already_running(layout)
        err.print(f"a stack runs on {layout.data} already (process {state.guardian})", markup=False, soft_wrap=True)
        shown.addresses()
        return 0
    reading, writing = os.pipe()
    guardian = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "hotswap.stack.guardian", options.encode(), str(writing)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    for event in receive(reading):
        shown.event(event)
        if shown.progress.ready:
            return 0
    guardian.wait()  # nothing of a failed start may outlive its command
    if not shown.progress.failed:
        raise StackError(f"the supervisor ended; its log: {layout.log('stack')}")
    return 1
