"""`ray start`, without the helpers that nothing of ours uses: 0.4 GB and a dozen processes less.

Two hooks of Ray's: the dashboard's command line, to load only the module behind Serve's REST, and `RAY_START_HOOK`, to
leave out the Ray client's server. Both are private, so both are optional: if a target is gone, Ray starts with
everything, only larger. `tests/unit/serving/test_ray_launcher.py` notices when that happens.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

MODULES = "--modules-to-load=ServeHead,StateHead"


def trim_dashboard() -> bool:
    """Make Ray start its dashboard with Serve's module only; False if the hook's target isn't there."""
    try:
        services: Any = importlib.import_module("ray._private.services")
        dashboard = importlib.import_module("ray._private.ray_constants").PROCESS_TYPE_DASHBOARD
        start = services.start_ray_process
    except (ImportError, AttributeError):
        return False

    def start_trimmed(command: Sequence[str], process_type: str, *args: Any, **options: Any) -> Any:
        return start([*command, MODULES] if process_type == dashboard else command, process_type, *args, **options)

    services.start_ray_process = start_trimmed
    return True


def without_client_server(params: Any, head: bool) -> None:
    """Start no client server where it has no port; this is a `RAY_START_HOOK`."""
    if head and hasattr(params, "ray_client_server_port"):
        params.ray_client_server_port = None


def main() -> None:
    importlib.import_module("ray")
    trim_dashboard()
    os.environ["RAY_START_HOOK"] = f"{__spec__.name if __spec__ else __name__}.without_client_server"
    sys.argv[0] = "ray"
    importlib.import_module("ray.scripts.scripts").main()


if __name__ == "__main__":
    main()
