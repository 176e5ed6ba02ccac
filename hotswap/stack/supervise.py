"""The supervisor's process: puts the stack together from its options, and runs it until SIGTERM.

Run by the guardian as `python -m hotswap.stack.supervise OPTIONS EVENTS LOCK`, the last two being inherited
descriptors. It checks all ports before it starts anything.
"""

import asyncio
import logging
import os
import signal
import sys

from hotswap.bootstrap import credentials
from hotswap.bootstrap.layout import Layout, StackError, create
from hotswap.process.sessions import start_ticks
from hotswap.stack import parts
from hotswap.stack.environment import TLS_CERTIFICATE, Environments, caller_environment, write_curl_configuration
from hotswap.stack.events import EventKind, Sender, StackEvent
from hotswap.stack.lifecycle import Options, State, choose_ports, sweep_leftovers
from hotswap.stack.ports import require_free
from hotswap.stack.supervisor import Supervisor
from hotswap.telemetry.logs import configure_logging

log = logging.getLogger(__name__)

PARTS_VARIABLE = "HOTSWAP_STACK_PARTS"
"""The parts to start, by name, in tests of the stack itself."""


async def supervise(options: Options, sender: Sender) -> None:
    layout = options.layout
    sweep_leftovers(layout)
    create(layout)
    ports = choose_ports(layout, options.port_base)
    caller = caller_environment()
    require_free(ports, tls=TLS_CERTIFICATE in caller)
    secrets = credentials.load(layout)

    def renew() -> None:
        credentials.renew_tokens(layout, secrets)
        write_curl_configuration(layout, secrets, public_port=ports.public)

    renew()
    _link_rays_logs(layout)
    environments = Environments(layout, ports, secrets, caller)
    chosen = parts.build(environments, parts.RayOptions(options.num_cpus, options.num_gpus))
    if only := os.environ.get(PARTS_VARIABLE):
        chosen = [part for part in chosen if part.name in only.split(",")]
    guardian = os.getppid()
    state = State(
        supervisor=os.getpid(),
        guardian=guardian,
        guardian_started=start_ticks(guardian) or 0,
        ports=ports,
        addresses={part.name: part.address for part in chosen if part.address},
        ready=False,
    )
    supervisor = Supervisor(layout, chosen, sender, state=state.encode(), start_seconds=options.start_seconds)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run(upkeep=renew)


def _link_rays_logs(layout: Layout) -> None:
    """Make Ray's own logs findable: it keeps those of its processes and replicas elsewhere."""
    link = layout.logs / "ray"
    target = layout.ray_sessions / "session_latest" / "logs"
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def main() -> int:
    configure_logging("supervisor")
    options, events, lock = Options.decode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.set_inheritable(lock, False)
    sender = Sender(events)
    try:
        asyncio.run(supervise(options, sender))
    except Exception as error:  # the last word goes to the person who waits
        known = isinstance(error, StackError)
        log.error("%s", error, exc_info=None if known else error)
        sender.send(
            StackEvent(EventKind.STACK_FAILED, text=str(error) if known else f"{type(error).__name__}: {error}")
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
