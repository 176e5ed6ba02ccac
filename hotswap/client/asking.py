"""How what a caller asks for is written: the body of a deployment, and the headers that lead an inference."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hotswap.domain.headers import ENTITY_HEADER, ENVIRONMENT_HEADER, TESTER_HEADER, VERSION_HEADER


def deployment_body(
    model: str,
    *,
    version: str | None,
    environment: str,
    strategy: str | None,
    config: Mapping[str, Any] | None,
    resources: Mapping[str, Any] | None,
    on_conflict: str | None,
    start_at: datetime | None,
    accept_contract_change: bool,
    emergency: str | None,
) -> dict[str, Any]:
    body = {
        "modelId": model,
        "version": version,
        "environment": environment,
        "strategy": strategy,
        "strategyConfig": dict(config or {}),
        "resources": dict(resources) if resources is not None else None,
        "onConflict": on_conflict,
        "startAt": start_at.isoformat() if start_at is not None else None,
        "acceptContractChange": accept_contract_change or None,
        "emergency": True if emergency is not None else None,
        "reason": emergency,
    }
    return {name: value for name, value in body.items() if value is not None}


def routing_headers(
    environment: str | None, version: str | None, entity: str | None, *, tester: bool
) -> dict[str, str]:
    wanted = {
        ENVIRONMENT_HEADER: environment,
        VERSION_HEADER: version,
        ENTITY_HEADER: entity,
        TESTER_HEADER: "true" if tester else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}
