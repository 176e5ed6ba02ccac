"""Requirements of a version: packages by name and version, and never a place or an option of pip's."""

from packaging.requirements import InvalidRequirement, Requirement

from hotswap.domain.errors import ValidationFailed


def checked(requirement: str) -> Requirement:
    """Return the parsed requirement. Raises ValidationFailed naming `requirements`."""
    try:
        found = Requirement(requirement)
    except InvalidRequirement as error:
        raise _refused(requirement, str(error).splitlines()[0]) from None
    if found.url is not None:
        raise _refused(
            requirement, "a package comes from the index that the workers and nodes use, not from an address"
        )
    return found


def _refused(requirement: str, problem: str) -> ValidationFailed:
    return ValidationFailed.of(
        "requirements", f"{requirement[:100]!r} is not a requirement such as 'lifelines>=0.27,<1': {problem}"
    )
