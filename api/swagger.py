"""The API's description for people, with every asset served from here: no page of ours loads anything from elsewhere.

The bundled Swagger UI reads OpenAPI 3.0, FastAPI writes 3.1; `as_openapi_30` says the same in the older words. A strict
content security policy holds the page to its own origin even if the bundle wanted otherwise.
"""

from pathlib import Path as FilePath
from typing import Any, Literal

import swagger_ui_bundle
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from api.auth import anonymous
from api.routing import GuardedRoute

router = APIRouter(prefix="/swagger", include_in_schema=False, route_class=GuardedRoute)

_BUNDLE = FilePath(str(swagger_ui_bundle.swagger_ui_path))
_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>HotSwap API</title>
  <link rel="stylesheet" href="/swagger/swagger-ui.css">
  <link rel="icon" type="image/png" href="/swagger/favicon-32x32.png">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/swagger/swagger-ui-bundle.js"></script>
  <script src="/swagger/start.js"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "/swagger/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


@router.get("", dependencies=[anonymous()])
async def page() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/start.js", dependencies=[anonymous()])
async def start() -> Response:
    return Response(_START, media_type="text/javascript")


@router.get("/openapi.json", dependencies=[anonymous()])
async def openapi(request: Request) -> JSONResponse:
    return JSONResponse(as_openapi_30(request.app.openapi()))


@router.get("/{asset}", dependencies=[anonymous()])
async def asset(asset: Literal["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]) -> FileResponse:
    return FileResponse(_BUNDLE / asset, headers={"Cache-Control": "public, max-age=86400"})


def as_openapi_30(description: dict[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = _convert(description)
    return {**converted, "openapi": "3.0.3"}


def _convert(node: Any) -> Any:
    """JSON Schema 2020-12 as OpenAPI 3.0 spells it: nullable, exclusive bounds as flags, constants as enums."""
    if isinstance(node, list):
        return [_convert(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: _convert(value) for name, value in node.items()}
    options = node.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del node["anyOf"]
        # Beside a $ref OpenAPI 3.0 ignores everything, so it goes into an allOf.
        node |= {"nullable": True} | (rest[0] if len(rest) == 1 and "$ref" not in rest[0] else {"allOf": rest})
    for bound, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(node.get(flag), int | float) and not isinstance(node.get(flag), bool):
            node |= {bound: node[flag], flag: True}
    node.pop("propertyNames", None)
    if isinstance(node.get("const"), str | int | float):
        node["enum"] = [node.pop("const")]
    return node
