"""Names and identifiers: each is spelled here and nowhere else."""

import re

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Environment

MODEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
RESERVED = frozenset({"outcomes"})
"""Words in a model's place in a path that are none: `POST /inference/outcomes`."""
SERVICE_ID_PREFIX = "tok-"
"""The beginning of service tokens' ids, with which no token's name begins."""
MODEL_ID = re.compile(r"model-[0-9a-f]{12}")
ALIAS = re.compile(r"(?!ver-)[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""Begins with a letter, so that it is no version's number, and not as a version's id does."""
SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


def check_model_name(name: str) -> str:
    """Raise ValidationFailed, with the rule, for a name that isn't allowed."""
    if MODEL_NAME.fullmatch(name) is None:
        raise ValidationFailed.of(
            "name", f"{name!r} must be 1 to 63 lower-case letters, digits or hyphens, with no hyphen at either end"
        )
    if MODEL_ID.fullmatch(name) is not None:
        raise ValidationFailed.of(
            "name", f"{name!r} looks like a model's id, and would be taken for it; take another name"
        )
    if name in RESERVED:
        raise ValidationFailed.of("name", f"{name!r} is a part of the API's own paths; take another name")
    return name


def check_alias(alias: str) -> str:
    """Raise ValidationFailed, with the rule, for an alias that isn't allowed."""
    if ALIAS.fullmatch(alias) is None:
        raise ValidationFailed.of(
            "alias",
            f"{alias!r} must be 1 to 63 lower-case letters, digits or hyphens, a letter first and no hyphen last; "
            "ver- is reserved for ids",
        )
    return alias


def normalize_sha256(checksum: str) -> str:
    """Return 64 lower-case hex digits; a prefix `sha256:` is removed. Raises ValidationFailed."""
    match = SHA256.fullmatch(checksum)
    if match is None:
        raise ValidationFailed.of("checksum", "must be a sha256 in 64 hex digits, with or without 'sha256:' before it")
    return match.group(1).lower()


def deployment_workflow_id(environment: Environment, model: str) -> str:
    """Return the workflow id of the one open deployment per model and environment.

    So Temporal itself is the lock, and a person can type the id.
    """
    return f"deployment/{environment}/{model}"


def queue_workflow_id(deployment_id: str) -> str:
    """Return the id of the workflow that waits for a deployment's turn and then starts it."""
    return f"queue/{deployment_id}"


def registration_workflow_id(model: str, version: str) -> str:
    return f"registration/{model}/{version}"


def scaling_workflow_id(application: str) -> str:
    return f"scaling/{application}"


def retirement_workflow_id(application: str) -> str:
    return f"retirement/{application}"


def announcement_workflow_id(webhook: str, event_id: str) -> str:
    """Return the id of the workflow that sends one event to one webhook."""
    return f"announcement/{webhook}/{event_id}"
