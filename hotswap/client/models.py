"""Models: register a version of one, look them up, say what they are and what they are called."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from hotswap.client.calls import Call, delete, get, kind_of, post, put, quoted
from hotswap.client.resources import ClientResource, T, call
from hotswap.schemas.requests import ChangeModel, GiveAlias, RegisterVersion, Say
from hotswap.schemas.responses import ModelView, Page, RegistrationView, ServedView, VersionView

MODELS = "/api/v1/models"


class Models(ClientResource[T]):
    @call
    def register(self, request: RegisterVersion) -> Call[VersionView | RegistrationView]:
        """Register a version; a new name makes the model.

        Answers the version, or how far it is where that takes longer than the API waits
        (`versions.await_registration`).
        """
        return Call("POST", MODELS, _registered, body=request.to_json())

    @call
    def list(
        self,
        *,
        framework: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's word
        team: str | None = None,
        owner: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        archived: bool | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Call[Page[ModelView]]:
        """List models, newest first; `name` is a part of the name.

        `cursor` is the `next` of a page, as in every list.
        """
        wanted = {
            "framework": framework,
            "type": type,
            "team": team,
            "owner": owner,
            "tag": tag,
            "name": name,
            "archived": archived,
            "limit": limit,
            "offset": offset,
            "cursor": cursor,
        }
        return get(Page[ModelView], MODELS, wanted)

    @call
    def get(self, model: str) -> Call[ModelView]:
        """Return a model, by its id or name, as in all calls."""
        return get(ModelView, model_path(model))

    @call
    def history(
        self,
        model: str,
        *,
        environment: str | None = None,
        at: datetime | None = None,
        limit: int = 50,
        offset: int | None = None,
        cursor: str | None = None,
    ) -> Call[Page[ServedView]]:
        """List the versions that have served, and who activated each, newest first.

        With `at` (which must have a time zone), list the versions that served then.
        """
        wanted = {"environment": environment, "at": at, "limit": limit, "offset": offset, "cursor": cursor}
        return get(Page[ServedView], f"{model_path(model)}/history", wanted)

    @call
    def change(self, model: str, changes: ChangeModel | Mapping[str, Any]) -> Call[ModelView]:
        """Change any field of `ChangeModel`; what isn't there stays as it is."""
        body = changes if isinstance(changes, ChangeModel) else ChangeModel(**changes)
        return Call("PATCH", model_path(model), kind_of(ModelView), body=body.to_json())

    @call
    def give_alias(self, model: str, alias: str, version: str) -> Call[ModelView]:
        """Let this version be called so too, and no other of the model."""
        return put(ModelView, _alias_path(model, alias), GiveAlias(version=version))

    @call
    def take_alias(self, model: str, alias: str) -> Call[ModelView]:
        """Let no version be called so."""
        return delete(ModelView, _alias_path(model, alias))

    @call
    def archive(self, model: str, *, reason: str | None = None) -> Call[ModelView]:
        """Take a model out of use of which nothing serves."""
        return delete(ModelView, model_path(model), Say(reason=reason))

    @call
    def restore(self, model: str, *, reason: str | None = None) -> Call[ModelView]:
        """Take an archived model back into use."""
        return post(ModelView, f"{model_path(model)}/restore", Say(reason=reason))


def model_path(model: str) -> str:
    """Return where the model is, by its id or its name."""
    return f"{MODELS}/{quoted(model)}"


def _registered(answer: httpx.Response) -> VersionView | RegistrationView:
    is_there = answer.status_code == httpx.codes.CREATED
    return (kind_of(VersionView) if is_there else kind_of(RegistrationView))(answer)


def _alias_path(model: str, alias: str) -> str:
    return f"{model_path(model)}/aliases/{quoted(alias)}"
