"""The embedded stack: every server that HotSwap stands on, from Python packages, supervised on one machine.

`hotswap/cli/stack.py` has its commands: `up`, `down`, `stop`, `start` and `env`. Programs (tests, the demo) ask
`control_environment` for the settings of the control loop of a stack on a data directory.
"""

import os
from pathlib import Path

__all__ = ["control_environment"]


def control_environment(data_dir: Path) -> dict[str, str]:
    """Return the control loop's settings (`HOTSWAP_*`, `TEMPORAL_*`) for a data directory's stack, **with** secrets.

    Add them to an environment: `{**os.environ, **control_environment(data_dir)}`.

    Raises StackError if no stack was ever started there.
    """
    from hotswap.bootstrap import credentials
    from hotswap.bootstrap.layout import StackError, locate
    from hotswap.stack import lifecycle
    from hotswap.stack.environment import Environments
    from hotswap.stack.ports import at_base

    layout = locate(data_dir)
    if not layout.secrets.exists():
        raise StackError(f"no stack was ever started on {layout.data}")
    state = lifecycle.read_state(layout)
    ports = state.ports if state else at_base(lifecycle.last_port_base(layout))
    return Environments(layout, ports, credentials.load(layout), os.environ).control_settings(signs=True)
