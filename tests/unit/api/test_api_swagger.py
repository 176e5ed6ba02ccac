"""The API describes itself, and no page of it loads anything from elsewhere."""

import base64
import hashlib
import re

import httpx
import pytest
from jsonschema_rs import Draft202012Validator


async def test_the_page_and_its_assets_come_from_here(api: httpx.AsyncClient) -> None:
    page = await api.get("/swagger")
    assert page.status_code == 200
    assert re.findall(r"https?://|//[a-z]", page.text) == []
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        answer = await api.get(asset)
        assert answer.status_code == 200, asset
        assert answer.content
    assert "/swagger/openapi.json" in page.text


async def test_the_pages_own_script_is_the_one_that_its_policy_lets_in(api: httpx.AsyncClient) -> None:
    page = await api.get("/swagger")
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy["script-src"] == f"'self' 'sha256-{allowed}'"


@pytest.mark.slow
async def test_the_description_is_openapi_31_without_what_is_inside(api: httpx.AsyncClient) -> None:
    described = (await api.get("/swagger/openapi.json")).json()
    assert described["openapi"] == "3.1.0"
    assert not [path for path in described["paths"] if path.startswith("/internal")]
    for schema in described["components"]["schemas"].values():
        Draft202012Validator({**schema, "components": described["components"]})
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert "HTTPBearer" in described["components"]["securitySchemes"]
    assert described["paths"]["/api/v1/models"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in described["paths"]["/health"]["get"]
