"""The private hooks that keep Ray small are where the launcher looks for them."""

import subprocess
import sys

import pytest

CHECK = """
from serving.ray import launcher
from ray._private import parameter, services
before = services.start_ray_process
assert launcher.trim_dashboard(), "ray._private.services.start_ray_process or PROCESS_TYPE_DASHBOARD is gone"
assert services.start_ray_process is not before
params = parameter.RayParams(ray_client_server_port=10001)
launcher.without_client_server(params, True)
assert params.ray_client_server_port is None, "RayParams.ray_client_server_port is gone"
from ray.scripts import scripts
assert "RAY_START_HOOK" in vars(scripts.ray_constants)
from ray._private import ray_constants
assert not ray_constants.ENABLE_RAY_CLUSTER, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER no longer means 127.0.0.1"
"""


@pytest.mark.slow
def test_the_hooks_have_their_targets() -> None:
    environment = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PATH": "/usr/bin:/bin"}
    result = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
