"""A registration's last step: it stores a version, and its model with the first one, in one transaction.

A version never changes. The same registration again is no error and returns the version that is there; one with another
artifact is refused.
"""

import secrets
from dataclasses import dataclass

from hotswap.domain.auditing import AuditAction, AuditChange
from hotswap.domain.contract import NON_FINITE
from hotswap.domain.errors import Conflict
from hotswap.domain.registry import Inspection, NewModel, NewVersion, RegisteredModel, Registration, VersionRef
from hotswap.ports import RegistrationTransaction, RegistrationTransactions


@dataclass(frozen=True, slots=True)
class Registrar:
    """Implements `hotswap.ports.VersionRegistrar`."""

    transactions: RegistrationTransactions

    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        """Store the version, and return it as it is on record.

        Raises Conflict for an archived model, a version that exists with another artifact, a model of another team than
        the one that the caller is held to, and an artifact that was removed lately.
        """
        async with self.transactions.begin() as registry:
            model = await registry.claim_model(_new_model(registration))
            if model.is_archived:
                raise Conflict(
                    f"{model.name} is archived; `hotswap models restore {model.name}` takes it back into use"
                )
            known = await registry.find_version(model, registration.version)
            if known is not None:
                _check_same_artifact(known, inspection)
                return known
            _check_team(model, registration)
            await registry.check_artifact(inspection.artifact.uri)
            new = _new_version(model, registration, inspection)
            await registry.add_version(new, _registered(new.ref, registration))
            await _set_idempotence(registry, model, registration)
            return new.ref


def _new_model(registration: Registration) -> NewModel:
    return NewModel(
        model_id=f"model-{secrets.token_hex(6)}",
        name=registration.name,
        team=registration.team,
        description=registration.description,
        framework=registration.framework,
        type=registration.type,
        owner=registration.owner or registration.requested_by,
        tags=list(registration.tags),
        is_idempotent=registration.idempotent is not False,
    )


def _check_same_artifact(known: VersionRef, inspection: Inspection) -> None:
    if known.artifact.sha256 != inspection.artifact.sha256:
        raise Conflict(
            f"{known.model} {known.version} is registered already, with another artifact ({known.artifact.sha256}); "
            "a version never changes, so register a new one"
        )


def _check_team(model: RegisteredModel, registration: Registration) -> None:
    """Raise Conflict where the model isn't of the team in which its caller was admitted.

    It is checked again under the model's lock: another team's first version may have created the model since, or an
    engineer may have given it to another team.
    """
    if registration.held_to not in {None, model.team}:
        now = f"the model of team {model.team}" if model.team is not None else "a model of no team"
        raise Conflict(
            f"{model.name} has become {now} since this was let through for team {registration.held_to}, so "
            f"{registration.version} is not registered; take another name, or ask for a role there"
        )


def _new_version(model: RegisteredModel, registration: Registration, inspection: Inspection) -> NewVersion:
    ref = VersionRef(
        version_id=f"ver-{secrets.token_hex(6)}",
        model_id=model.model_id,
        model=model.name,
        version=registration.version,
        framework=registration.framework,
        artifact=inspection.artifact,
        input_schema=inspection.input_schema,
        output_schema=inspection.output_schema | ({NON_FINITE: True} if registration.allows_non_finite else {}),
        baseline=registration.metadata.get("baseline", {}),
        requirements=inspection.requirements,
    )
    return NewVersion(
        ref=ref,
        training=registration.metadata.get("training", {}),
        reference_distribution=registration.metadata.get("reference_distribution", {}),
        derived_from=registration.derived_from,
        created_by=registration.requested_by,
    )


def _registered(version: VersionRef, registration: Registration) -> AuditChange:
    return AuditChange(
        actor=registration.requested_by,
        action=AuditAction.REGISTER,
        after={"model": version.model, "version": version.version, "checksum": version.artifact.sha256},
    )


async def _set_idempotence(
    registry: RegistrationTransaction, model: RegisteredModel, registration: Registration
) -> None:
    """Let the model be as this registration says, if it says it; routes have it from their next change on."""
    before, after = model.is_idempotent, registration.idempotent
    if after is None or after == before:
        return
    audit = AuditChange(
        actor=registration.requested_by,
        action=AuditAction.CHANGE_MODEL,
        reason=f"said so at the registration of {registration.version}",
        before={"idempotent": before},
        after={"idempotent": after},
    )
    await registry.update_model(model, {"is_idempotent": after}, audit)
