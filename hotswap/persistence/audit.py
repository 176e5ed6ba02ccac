"""Audit events, as every change writes them in its own transaction: who did what to which, and why."""

from typing import Any

from hotswap.persistence.tables import AuditEvent


def about_deployment(
    deployment_id: str, *, actor: str, action: str, why: str | None = None, **change: dict[str, Any] | None
) -> AuditEvent:
    """`change` has what it was `before` and is `after`, each as far as there is one."""
    return AuditEvent(actor=actor, action=action, target_type="deployment", target_id=deployment_id, why=why, **change)


def about_version(
    version_id: str, *, actor: str, action: str, why: str | None = None, **change: dict[str, Any] | None
) -> AuditEvent:
    """`change` has what it was `before` and is `after`, each as far as there is one."""
    return AuditEvent(actor=actor, action=action, target_type="version", target_id=version_id, why=why, **change)
