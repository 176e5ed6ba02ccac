"""Envoy by files: rendering is pure, writing is atomic, and Envoy itself says what it took (`serving/agent.py`)."""

from serving.envoy.files import prepare

__all__ = ["prepare"]
