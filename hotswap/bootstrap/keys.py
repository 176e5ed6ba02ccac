"""The keys and tokens under `HOTSWAP_DATA_DIR`."""

from hotswap.bootstrap import credentials, layout


def run() -> None:
    """Make what is missing of the signing key, its public half, and the developer's and the agent's tokens."""
    place = layout.locate(None)
    layout.create(place)
    credentials.load(place)
