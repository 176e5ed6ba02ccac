"""`hotswap demo`: the main job, end to end, on real servers and a real model."""

from hotswap.cli.demo.command import demo

__all__ = ["demo"]
