"""The API describes itself, and no page of it loads anything from elsewhere."""

import re
from typing import Any

import httpx
import pytest


async def test_the_page_and_its_assets_come_from_here(api: httpx.AsyncClient) -> None:
    page = await api.get("/swagger")
    assert page.status_code == 200
    assert re.findall(r"https?://|//[a-z]", page.text) == []
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        answer = await api.get(asset)
        assert answer.status_code == 200, asset
        assert answer.content
    start = await api.get("/swagger/start.js")
    assert re.findall(r"https?://", start.text) == []


@pytest.mark.slow
async def test_the_description_is_openapi_30_that_the_page_can_read(api: httpx.AsyncClient) -> None:
    described = (await api.get("/swagger/openapi.json")).json()
    assert described["openapi"] == "3.0.3"
    assert not [path for path in described["paths"] if path.startswith("/internal")]
    for node in nodes(described):
        assert node.get("type") != "null"
        assert not {"const", "propertyNames", "prefixItems", "$defs"} & node.keys()
        assert not isinstance(node.get("exclusiveMinimum"), int | float) or node["exclusiveMinimum"] is True
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert "HTTPBearer" in described["components"]["securitySchemes"]
    assert described["paths"]["/api/v1/models"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in described["paths"]["/health"]["get"]


def nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [node for each in value for node in nodes(each)]
    if not isinstance(value, dict):
        return []
    return [value, *(node for each in value.values() for node in nodes(each))]
