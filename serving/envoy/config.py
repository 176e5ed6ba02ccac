"""The shape of Envoy's configuration: JSON objects, as its protobufs spell them."""

from typing import Any

Json = dict[str, Any]
