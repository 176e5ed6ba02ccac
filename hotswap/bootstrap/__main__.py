"""`python -m hotswap.bootstrap TASK`: runs one task, and imports nothing of the others."""

import argparse
from importlib import import_module

from hotswap.telemetry.logs import configure_logging

TASKS = ("bucket", "database", "envoy", "keys")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hotswap.bootstrap", description="Prepare what the parts need.")
    parser.add_argument("task", choices=TASKS)
    task = parser.parse_args().task
    configure_logging("bootstrap")
    import_module(f"hotswap.bootstrap.{task}").run()


if __name__ == "__main__":
    main()
