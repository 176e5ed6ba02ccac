"""Every route is described as it is, and a new one can't be forgotten."""

from typing import Any

import pytest

from api.auth import Anonymous, Rule, rule_of
from api.description import TAGS, described_routes
from api.idempotency import is_kept
from tests.fixtures.described import described_app, openapi_document

DOCUMENT = openapi_document()
OPERATIONS = {
    f"{method} {path}": (DOCUMENT["paths"][path][method.lower()], route)
    for path, method, route in described_routes(described_app())
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    options = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
    name = options[0].get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name] if name else options[0]
    return found


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for operation, _ in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert "listModels" in names


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_who_may_and_what_can_come_of_it(name: str) -> None:
    operation, route = OPERATIONS[name]
    method, path = name.split()
    assert operation["summary"]
    assert operation["description"], "its handler needs a docstring"
    assert operation["tags"][0] in TAGS
    statuses = set(operation["responses"])
    assert {"400", "500"} <= statuses
    assert "default" not in statuses
    headers = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"}
    if isinstance(rule_of(route), Rule):
        assert operation["security"] == [{"HTTPBearer": []}]
        assert {"401", "403"} <= statuses
        assert ("Idempotency-Key" in headers) == (method == "POST" and is_kept(route))
        assert ("If-None-Match" in headers) == ("304" in statuses) == (method == "GET")
    else:
        is_anonymous = isinstance(rule_of(route), Anonymous)
        assert ("security" not in operation) == is_anonymous
        assert "403" not in statuses
    assert ("If-Match" in headers) == ("412" in statuses)
    if "{" in path:
        assert "404" in statuses
    for status, answer in operation["responses"].items():
        if status >= "400" and status != "503":
            schema = answer["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}, status


@pytest.mark.parametrize("name", [name for name, (operation, _) in OPERATIONS.items() if "requestBody" in operation])
def test_every_body_has_an_example(name: str) -> None:
    operation, _ = OPERATIONS[name]
    assert "413" in operation["responses"]
    body = resolved(operation["requestBody"]["content"]["application/json"]["schema"])
    assert "example" in body or "examples" in body, body.get("title")


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("GET")])
def test_every_list_can_be_gone_through_by_cursor(name: str) -> None:
    operation, _ = OPERATIONS[name]
    said = operation["responses"]["200"]["content"]
    if "application/json" not in said:
        return
    answer = resolved(said["application/json"]["schema"])
    taken = {each["name"] for each in operation.get("parameters", ())}
    if "items" in answer.get("properties", {}):
        assert {"limit", "offset", "cursor"} <= taken
        assert "next" in answer["properties"]
        assert "Link" in operation["responses"]["200"]["headers"]


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("POST")])
def test_no_secret_is_kept_for_who_asks_again(name: str) -> None:
    operation, route = OPERATIONS[name]
    if isinstance(rule_of(route), Anonymous) or not is_kept(route):
        return
    for status, answer in operation["responses"].items():
        if status.startswith("2") and "content" in answer:
            fields = set(resolved(answer["content"]["application/json"]["schema"]).get("properties", {}))
            assert not {each for each in fields if "token" in each.lower() or "secret" in each.lower()}, fields
