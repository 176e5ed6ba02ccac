"""The fixtures of these tests."""

from tests.fixtures.disks import small_disk

__all__ = ["small_disk"]
