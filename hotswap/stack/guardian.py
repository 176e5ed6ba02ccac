"""The process above the supervisor, too small to fail: it makes sure that nothing is left behind.

It holds the stack's lock, hands every request to stop on to the supervisor, buries orphans (it is their subreaper),
and when the supervisor has ended, in whatever way, kills what it left. If this process is killed itself, the
supervisor gets SIGTERM from the kernel and stops in order.
"""

import os
import signal
import subprocess
import sys
from types import FrameType

from hotswap.bootstrap.layout import StackError
from hotswap.process.sessions import become_subreaper, die_with_parent
from hotswap.stack import lifecycle
from hotswap.stack.events import EventKind, Sender, StackEvent
from hotswap.stack.lifecycle import Options


def guard(options: Options, events: int) -> int:
    """Run a stack to its end and return the supervisor's exit code; `events` is the pipe that it writes to.

    Raises:
        StackError: a stack runs on this data directory, or nothing can.
    """
    layout = options.layout
    lock = lifecycle.acquire(layout)
    become_subreaper()
    parent = os.getpid()
    with layout.log("stack").open("ab") as log:
        supervisor = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "hotswap.stack.supervise", options.encode(), str(events), str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(events, lock),
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
        )
    os.close(events)

    def hand_on(_signal: int, _frame: FrameType | None) -> None:
        supervisor.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    code = _wait(supervisor.pid)
    supervisor.returncode = code
    lifecycle.sweep_leftovers(layout)
    os.close(lock)
    return code


def _wait(supervisor: int) -> int:
    """Reap orphans until the supervisor is among the dead."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == supervisor:
            return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run the detached form: `python -m hotswap.stack.guardian OPTIONS EVENTS`."""
    options, events = Options.decode(sys.argv[1]), int(sys.argv[2])
    try:
        return guard(options, events)
    except StackError as error:
        Sender(events).send(StackEvent(EventKind.STACK_FAILED, text=str(error)))
        return 1


if __name__ == "__main__":
    sys.exit(main())
