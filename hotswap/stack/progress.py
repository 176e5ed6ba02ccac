"""Progress of a stack that starts, runs and stops, for people: a line per event, colored on a terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from hotswap.stack.events import EventKind, StackEvent
from hotswap.stack.ports import HOST, StackPorts

STYLES = {
    EventKind.READY: "green",
    EventKind.DIED: "red",
    EventKind.STACK_FAILED: "red",
    EventKind.STACK_READY: "bold green",
}
QUIET = frozenset({EventKind.STARTING, EventKind.STOPPING})


class StartProgress:
    """Prints events; remembers how the start went."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.failed = False
        self.ready = False

    def show(self, event: StackEvent) -> None:
        if event.kind is EventKind.STACK_FAILED:
            if self.failed:
                return  # said before everything was stopped, and again at the end
            self.failed = True
            self._print(event.text, event.kind)
        elif event.kind is EventKind.STACK_READY:
            self.ready = True
            self._print(f"all parts ready after {event.seconds:.1f} s", event.kind)
        elif event.kind is EventKind.STACK_STOPPING:
            self._print("stopping", event.kind)
        elif event.kind not in QUIET:
            took = f"{event.seconds:5.1f} s" if event.seconds else " " * 7
            self._print(f"{event.part:12} {event.kind:8} {took}  {event.text}", event.kind)

    def addresses(self, urls: Mapping[str, str]) -> None:
        """Print the addresses, as the last thing that a start says."""
        for name, url in urls.items():
            self._console.print(Text(f"  {name:14} {url}"), soft_wrap=True)
        self._console.print(Text('  eval "$(hotswap env --shell)" sets what the runbooks use'), soft_wrap=True)

    def _print(self, line: str, kind: EventKind) -> None:
        self._console.print(Text(line.rstrip(), style=STYLES.get(kind, "")), soft_wrap=True)


def urls(ports: StackPorts) -> dict[str, str]:
    """Return the addresses of the stack for people and programs."""
    return {
        "public": f"http://{HOST}:{ports.public}",
        "api": f"http://{HOST}:{ports.api}",
        "temporal": f"{HOST}:{ports.temporal}",
        "temporalUi": f"http://{HOST}:{ports.temporal_ui}",
        "rayDashboard": f"http://{HOST}:{ports.ray_dashboard}",
        "rayMetrics": f"http://{HOST}:{ports.ray_metrics}",
        "s3": f"http://{HOST}:{ports.s3}",
        "envoyAdmin": f"http://{HOST}:{ports.envoy_admin}",
    }
