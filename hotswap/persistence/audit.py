"""Audit events, as every change writes them in its own transaction: who did what to which, and why."""

from functools import partial
from typing import Any

from hotswap.persistence.tables import AuditEvent


def _about(
    target_type: str,
    target_id: str,
    *,
    actor: str,
    action: str,
    why: str | None = None,
    **change: dict[str, Any] | None,
) -> AuditEvent:
    """`change` has what it was `before` and is `after`, each as far as there is one."""
    return AuditEvent(actor=actor, action=action, target_type=target_type, target_id=target_id, why=why, **change)


about_deployment = partial(_about, "deployment")
about_model = partial(_about, "model")
about_version = partial(_about, "version")
about_environment = partial(_about, "environment")
