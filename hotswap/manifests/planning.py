"""The difference between what manifests say and what is so. Pure: asks nobody, changes nothing.

What can't be done is told with the plan, before anything is begun. A version that went back where it is wanted, of
itself or because a person said so, is not sent there again by the same file: whoever took it back had a reason.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, OnConflict
from hotswap.manifests.schema import DESCRIPTION, RECORDING, Manifest, Serving, Version
from hotswap.schemas.requests import CreateDeployment, RegisterVersion
from hotswap.schemas.responses import DeploymentView, ModelView, MonitoringView, VersionView

_OF_A_VERSION = (
    "artifactPath",
    "framework",
    "checksum",
    "trainingMetadata",
    "performanceBaseline",
    "allowsNonFinite",
)


PlannedRequest: TypeAlias = RegisterVersion | CreateDeployment | Mapping[str, Any]
"""A body of the API, or what is to be changed of one thing, by the fields' names in JSON."""


class PlannedAction(StrEnum):
    REGISTER = "register"
    CHANGE = "change"
    ALIAS = "alias"
    MONITOR = "monitor"
    DEPLOY = "deploy"


@dataclass(frozen=True, slots=True)
class Actual:
    """One model as it is; `deployments` are those of the environments that are spoken of, newest first."""

    model: ModelView | None = None
    versions: Mapping[str, VersionView] = field(default_factory=dict)
    monitoring: MonitoringView | None = None
    deployments: Sequence[DeploymentView] = ()


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One thing to do: `target` is a version, a field, an alias or an environment; the API is told `request`."""

    action: PlannedAction
    model: str
    target: str
    before: Any
    after: Any
    request: PlannedRequest = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes, in the order in which they are made.

    With a problem none of them is made; `under_way` needs nothing but time.
    """

    changes: tuple[PlannedChange, ...]
    problems: tuple[str, ...] = ()
    under_way: tuple[str, ...] = ()


def plan(wanted: Sequence[Manifest], actual: Mapping[str, Actual], *, again: bool = False) -> Plan:
    """Return the changes that lead from `actual`, which has every model by name, to what is wanted.

    With `again`, a version may be deployed again where it was rolled back or failed.
    """
    changes: list[PlannedChange] = []
    problems: list[str] = []
    under_way: list[str] = []
    for manifest in wanted:
        there = actual[manifest.name]
        one = _Model(manifest, there)
        changes += [*one.registrations(), *one.metadata(), *one.aliases(), *one.monitoring()]
        problems += one.problems()
        for environment, serving in manifest.environments.items():
            match one.deployment(environment, serving, again=again):
                case PlannedChange() as change:
                    changes.append(change)
                case _Refused(message):
                    problems.append(message)
                case _UnderWay(what):
                    under_way.append(what)
    order = list(PlannedAction)
    return Plan(tuple(sorted(changes, key=lambda each: order.index(each.action))), tuple(problems), tuple(under_way))


@dataclass(frozen=True, slots=True)
class _Refused:
    message: str


@dataclass(frozen=True, slots=True)
class _UnderWay:
    what: str


class _Model:
    def __init__(self, wanted: Manifest, actual: Actual) -> None:
        self._wanted = wanted
        self._actual = actual
        self._name = wanted.name

    def registrations(self) -> Iterator[PlannedChange]:
        """Yield the registrations. A new model's description goes with each, as the first one creates the model."""
        is_new = self._actual.model is None
        for version in self._wanted.versions:
            if version.version not in self._actual.versions:
                request = self._wanted.registration(version, is_new=is_new)
                yield PlannedChange(
                    PlannedAction.REGISTER, self._name, version.version, None, version.artifact_path, request
                )

    def metadata(self) -> Iterator[PlannedChange]:
        """Yield the changes. What records keep is changed of a new model too, before anything of it is deployed."""
        said = self._wanted.said()
        so = self._actual.model.to_json() if self._actual.model is not None else {}
        for name in (*DESCRIPTION, *RECORDING) if so else RECORDING:
            if name in said and _differs(said[name], before := so.get(name)):
                yield PlannedChange(PlannedAction.CHANGE, self._name, name, before, said[name], {name: said[name]})

    def aliases(self) -> Iterator[PlannedChange]:
        so = self._actual.model.aliases if self._actual.model is not None else {}
        for alias, version in self._wanted.aliases.items():
            if so.get(alias) != version:
                yield PlannedChange(PlannedAction.ALIAS, self._name, alias, so.get(alias), version)

    def monitoring(self) -> Iterator[PlannedChange]:
        said = self._wanted.monitoring.said() if self._wanted.monitoring is not None else {}
        so = self._actual.monitoring.to_json() if self._actual.monitoring is not None else {}
        for name, value in said.items():
            if so.get(name) != value:
                yield PlannedChange(PlannedAction.MONITOR, self._name, name, so.get(name), value, {name: value})

    def problems(self) -> Iterator[str]:
        model = self._actual.model
        if model is None and not self._wanted.versions:
            yield f"{self._name}: there is no such model, and no version that would make it"
        if model is not None:
            if model.is_archived:
                yield f"{self._name}: is archived; `hotswap models restore {self._name}` brings it back"
            registers = any(version.version not in self._actual.versions for version in self._wanted.versions)
            if self._wanted.idempotent not in (None, model.idempotent) and not registers:
                yield f"{self._name}: idempotent can be changed with a new version only"
        for version in self._wanted.versions:
            if (there := self._actual.versions.get(version.version)) is not None:
                yield from self._same(version, there)
        for alias, number in self._wanted.aliases.items():
            if number is not None and not self._is_known(number):
                yield f"{self._name}: alias {alias}: there is no version {number}, registered or here"

    def _same(self, version: Version, there: VersionView) -> Iterator[str]:
        """Yield what the file says otherwise than the registered version, which never changes: one is wrong."""
        said, so = self._wanted.registration(version, is_new=False).to_json(), there.to_json()
        for name in _OF_A_VERSION:
            if said.get(name) is not None and said[name] != so[name]:
                yield (
                    f"{self._name} {version.version}: {name} is {_short(so[name])}, not {_short(said[name])}; "
                    "a version never changes, so register a new one"
                )

    def deployment(
        self, environment: Environment, serving: Serving, *, again: bool
    ) -> PlannedChange | _Refused | _UnderWay | None:
        where = f"{self._name}: {environment}"
        version = self._number(serving.version)
        if version is None or not self._is_known(version):
            return _Refused(f"{where}: there is no version {serving.version}, registered or here")
        so = self._actual.model.active_versions.get(environment) if self._actual.model is not None else None
        theirs = [each for each in self._actual.deployments if each.environment is environment]
        open_ones = [each for each in theirs if not each.status.is_terminal]
        for each in open_ones:
            if each.version == version and each.status is not DeploymentStatus.ROLLING_BACK:
                return _UnderWay(f"{self._name} {version} is on its way to {environment} by {each.deployment_id}")
        if so == version and not open_ones:
            return None
        if (there := self._actual.versions.get(version)) is not None and there.is_deprecated:
            return _Refused(f"{where}: {version} is deprecated: {there.deprecation}")
        if open_ones and serving.on_conflict is OnConflict.REJECT:
            busy = open_ones[0]
            return _Refused(
                f"{where}: {busy.deployment_id} is deploying {busy.version} there; wait for its end, or set "
                "onConflict: queue or supersede"
            )
        if not again and (back := _taken_back(theirs, version)) is not None:
            return _Refused(f"{where}: {version} {back}; --again deploys it there all the same")
        request = self._wanted.deployment(environment, version=version)
        newest = theirs[0].deployment_id if theirs else None
        key = _key({**request.to_json(), "after": newest})
        return PlannedChange(
            PlannedAction.DEPLOY, self._name, environment.value, so, version, request, idempotency_key=key
        )

    def _number(self, version: str) -> str | None:
        """Return the version's number; of an alias, the number that it will have."""
        if version in self._wanted.aliases:
            return self._wanted.aliases[version]
        return self._actual.model.aliases.get(version, version) if self._actual.model is not None else version

    def _is_known(self, version: str) -> bool:
        return version in self._actual.versions or version in {each.version for each in self._wanted.versions}


def _taken_back(theirs: Sequence[DeploymentView], version: str) -> str | None:
    """Return what the newest ended deployment says against this version, or None."""
    newest = next((each for each in theirs if each.status.is_terminal), None)
    if newest is None:
        return None
    if newest.kind is DeploymentKind.ROLLBACK:
        by = f"was rolled back by {newest.initiated_by} ({newest.deployment_id})"
        return by if newest.previous_version == version and newest.status is DeploymentStatus.ACTIVE else None
    if newest.version != version or newest.status is DeploymentStatus.ACTIVE:
        return None
    return f"ended as {newest.status} there: {newest.message or newest.reason} ({newest.deployment_id})"


def _key(said: Mapping[str, Any]) -> str:
    """Return a key of the request and of the newest deployment before it, so that a repeated start starts once."""
    return f"apply-{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()}"


def _differs(said: Any, so: Any) -> bool:
    if isinstance(said, list) and isinstance(so, list):
        return sorted(said) != sorted(so)
    return bool(said != so)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 80 else f"{text[:79]}…"
