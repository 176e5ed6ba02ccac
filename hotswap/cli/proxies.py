"""`hotswap proxies`: the Envoys that take requests, and how far each is with the traffic plan."""

from typing import Annotated

import typer

from hotswap.cli.console import connect, out, show_json, show_table, table
from hotswap.cli.options import AsJson, examples
from hotswap.schemas.responses import ProxyView

LIST = examples(
    "hotswap proxies list", "hotswap proxies list --json | jq -r '.items[] | select(.state==\"Lost\").name'"
)
REMOVE = examples('hotswap proxies remove envoy-1 --reason "its machine is gone"')

app = typer.Typer(
    help="Proxies: the Envoys that take requests. A deployment waits for each that serves its environment.",
    epilog=examples("hotswap proxies list", "hotswap proxies remove envoy-1"),
    no_args_is_help=True,
)


@app.command("list", epilog=LIST)
def list_proxies(*, as_json: AsJson = False) -> None:
    """List the proxies, whether each still reports, and the newest traffic plan that each has confirmed."""
    with connect() as hotswap:
        page = hotswap.proxies.list()
    if as_json:
        show_json(page)
        return
    rows = [
        (
            each.name,
            each.state,
            f"{each.silent_seconds:g} s",
            ", ".join(each.environments),
            each.generation,
            _said(each),
        )
        for each in page.items
    ]
    show_table(table("PROXY", "STATE", "SILENT FOR", "ENVIRONMENTS", "PLAN", "", rows=rows))


@app.command(epilog=REMOVE)
def remove(
    proxy: Annotated[str, typer.Argument(help="The proxy's name.", show_default=False)],
    *,
    reason: Annotated[str | None, typer.Option(help="The reason, for the audit log.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Remove a proxy that is gone for good, so that no deployment waits for it any more.

    One that still reports can't be removed: stop its agent and its Envoy first.
    """
    with connect() as hotswap:
        removed = hotswap.proxies.remove(proxy, reason=reason)
    if as_json:
        show_json(removed)
    else:
        out.print(f"{removed.name} is removed", markup=False, soft_wrap=True)


def _said(proxy: ProxyView) -> str:
    """Return what is to be known beside the numbers."""
    if proxy.problem is not None:
        return proxy.problem
    if proxy.held:
        return "; ".join(proxy.held.values())
    return "current" if proxy.is_current else "behind"
