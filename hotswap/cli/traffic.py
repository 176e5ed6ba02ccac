"""`hotswap traffic`: what a person does at the proxies themselves, while the control loop can't be reached."""

import os
from typing import Annotated

import typer

from hotswap.cli.console import CommandFailed, err, out, show_json
from hotswap.cli.options import AsJson, examples
from hotswap.client import ApiError, HotSwap, token_of
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses import WithdrawalView

WITHDRAW = examples(
    'hotswap traffic withdraw fraud-detection --at http://envoy-0:5000 --at http://envoy-1:5000 --reason "errors"',
)

app = typer.Typer(
    help="For emergencies: act at the proxies themselves, while the API, Temporal or PostgreSQL are away.",
    epilog=WITHDRAW,
    no_args_is_help=True,
)


@app.command(epilog=WITHDRAW)
def withdraw(
    model: Annotated[str, typer.Argument(help="The model's name.", show_default=False)],
    *,
    at: Annotated[
        list[str],
        typer.Option(help="The public address of a proxy. Give each of them: every proxy is told by itself."),
    ],
    reason: Annotated[str, typer.Option(help="The reason, for the audit log.", show_default=False)],
    environment: Annotated[Environment, typer.Option(help="The environment.")] = Environment.PRODUCTION,
    as_json: AsJson = False,
) -> None:
    """Take all traffic from a model's candidate at these proxies, without the API, Temporal and PostgreSQL.

    It holds until a deployment changes the weight. When the control loop is back, the deployment is aborted. The token
    (HOTSWAP_TOKEN) must be a bearer token: a service token can't be exchanged without the API. While the API answers,
    use `hotswap abort`.
    """
    done: list[WithdrawalView] = []
    problems: list[str] = []
    for url in at:
        try:
            with HotSwap(url, token_of(os.environ)) as proxy:
                done.append(proxy.proxies.withdraw(model, environment=environment.value, reason=reason))
        except (ApiError, ValueError) as error:
            problems.append(f"{url}: {error}")
    if as_json:
        show_json({"done": [each.to_json() for each in done], "problems": problems})
    else:
        for each in done:
            out.print(f"{each.proxy}: {each.model} {each.version} has no traffic", markup=False, soft_wrap=True)
        for problem in problems:
            err.print(problem, markup=False, soft_wrap=True)
    if problems:
        raise CommandFailed(f"{len(problems)} of {len(at)} proxies did not take {model}'s candidate out")
