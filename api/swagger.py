"""The API's description for people, with every asset served from here: no page of ours loads anything from elsewhere.

The page is FastAPI's, Swagger UI comes in a package, and both read OpenAPI 3.1, which FastAPI writes. A strict content
security policy holds the page to its own origin even if the bundle wanted otherwise; the one script within the page is
let in by its hash.
"""

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from api.auth import anonymous
from api.routing import GuardedRoute

router = APIRouter(prefix="/swagger", include_in_schema=False, route_class=GuardedRoute)

_BUNDLE = FilePath(str(files("fastapi_swagger.resources")))
_PAGE = get_swagger_ui_html(
    openapi_url="/swagger/openapi.json",
    title="HotSwap API",
    swagger_js_url="/swagger/swagger-ui-bundle.js",
    swagger_css_url="/swagger/swagger-ui.css",
    swagger_favicon_url="/swagger/favicon-32x32.png",
    swagger_ui_parameters={"validatorUrl": None},
).body
_SCRIPTS = [
    base64.b64encode(hashlib.sha256(each).digest()).decode()
    for each in re.findall(rb"<script>(.*?)</script>", bytes(_PAGE), re.DOTALL)
]
_POLICY = "; ".join(
    [
        "default-src 'self'",
        " ".join(["script-src 'self'", *(f"'sha256-{script}'" for script in _SCRIPTS)]),
        "img-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        "frame-ancestors 'none'",
    ]
)


@router.get("", dependencies=[anonymous()])
async def page() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/openapi.json", dependencies=[anonymous()])
async def openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


@router.get("/{asset}", dependencies=[anonymous()])
async def asset(asset: Literal["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]) -> FileResponse:
    return FileResponse(_BUNDLE / asset, headers={"Cache-Control": "public, max-age=86400"})
