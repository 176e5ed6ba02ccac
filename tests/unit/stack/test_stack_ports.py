"""Every port of the stack is named, distinct, movable, and checked before anything starts."""

import os
import socket
from dataclasses import asdict

import psutil
import pytest

from hotswap.bootstrap.layout import StackError
from hotswap.stack import ports


@pytest.mark.parametrize("base", [None, 20000])
def test_no_two_listeners_meet(base: int | None) -> None:
    chosen = ports.at_base(base)
    taken: list[int] = [number for name, number in asdict(chosen).items() if name not in ports.RANGES]
    for name in ports.RANGES:
        taken += range(getattr(chosen, name), ports.last_of(chosen, name) + 1)
    assert len(taken) == len(set(taken))
    if base is not None:
        assert min(taken) == base
        assert max(taken) == base + ports.SPAN - 1


def test_the_defaults_are_the_seeds() -> None:
    default = ports.at_base(None)
    assert (default.public, default.postgres, default.valkey, default.s3) == (5000, 5432, 6379, 9000)
    assert (default.temporal, default.temporal_ui, default.ray_dashboard) == (7233, 8233, 8265)


def test_no_default_port_is_one_that_the_kernel_hands_out() -> None:
    assert max(asdict(ports.at_base(None)).values()) + 1000 < 32768


@pytest.mark.parametrize("base", [0, 80, 65000, -1])
def test_a_base_without_room_is_refused(base: int) -> None:
    with pytest.raises(StackError, match="port-base"):
        ports.at_base(base)


def test_a_taken_port_names_part_holder_and_the_way_out() -> None:
    with socket.socket() as holder:
        holder.bind((ports.HOST, 0))
        holder.listen()
        number = holder.getsockname()[1]
        with pytest.raises(StackError) as refused:
            ports.require_free(ports.StackPorts(public=number))
    message = str(refused.value)
    assert f"port {number} (envoy: public) is taken by process {os.getpid()} (" in message
    assert psutil.Process().cmdline()[0] in message
    assert "--port-base" in message
