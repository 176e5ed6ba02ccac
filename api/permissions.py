"""Rules on a deployment beyond the caller's role: by environment, for an emergency, and by four eyes."""

from api.auth import ENGINEERS
from api.context import Parts
from hotswap.domain.access import Principal, is_program
from hotswap.domain.deployments import Deployment
from hotswap.domain.errors import Forbidden
from hotswap.domain.vocabulary import Environment


def check_may_change(caller: Principal, environment: Environment) -> None:
    """Check that the caller may change the environment: Production is for engineers. Raises Forbidden."""
    if environment is Environment.PRODUCTION:
        _check_engineer(caller, "Production", otherwise="may use Development and Staging")


def check_may_hurry(caller: Principal) -> None:
    """Check that the caller may skip what protects clients, which is an engineer's decision. Raises Forbidden."""
    _check_engineer(caller, "an emergency", otherwise="may deploy without it")


def _check_engineer(caller: Principal, what: str, *, otherwise: str) -> None:
    if caller.roles.isdisjoint(ENGINEERS):
        place = f" in the team {caller.team}" if caller.team is not None else ""
        roles = " or ".join(ENGINEERS)
        raise Forbidden(f"{what} needs the role {roles}{place}; {caller.subject} {otherwise}")


async def check_second_pair_of_eyes(caller: Principal, parts: Parts, deployment: Deployment) -> None:
    """Check that the caller can't have asked for the deployment, with any token. Raises Forbidden."""
    name, asked = deployment.deployment_id, deployment.initiated_by
    if asked == caller.subject:
        raise Forbidden(f"{caller.subject} asked for {name}, so somebody else has to approve it")
    if caller.is_program:
        raise Forbidden(f"{name} needs a person's approval; {caller.subject} is a program, which anybody could use")
    if is_program(asked) and caller.subject in await parts.service_tokens.shown_to(asked):
        raise Forbidden(
            f"{asked} asked for {name}, and {caller.subject} made that token or gave it a new secret, so somebody else "
            f"has to approve it"
        )
