"""``/docs``: Swagger UI over ``/openapi.json``, from the files of a package; nothing is fetched from elsewhere."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from agentd.files.regular import read_regular
from agentd.gateway.http.errors import ApiError, not_found
from agentd.gateway.http.route import Route

PACKAGE: Final = "mkdocs_swagger_ui_tag"
"""Which brings Swagger UI; only its files are used."""

_POLICY: Final = (
    # Swagger UI sets styles in attributes, and draws its arrows from data: URLs.
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DAY: Final = "max-age=86400"
_LARGEST: Final = 8 << 20

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>agentd-gateway</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
_START: Final = b"""SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null});
"""
_FILES: Final = {
    "swagger-ui.css": ("text/css", "swagger-ui/stylesheets/swagger-ui.css"),
    "swagger-ui-bundle.js": ("text/javascript", "swagger-ui/javascripts/swagger-ui-bundle.js"),
}


async def _page(_request: web.Request) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: "text/html; charset=utf-8", "Content-Security-Policy": _POLICY}
    return web.Response(body=_PAGE, headers=headers)


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["file"]
    if name == "start.js":
        return web.Response(body=_START, content_type="text/javascript")
    if name not in _FILES:
        raise not_found("such file")
    kind, path = _FILES[name]
    body = await asyncio.to_thread(_read, path)
    return web.Response(body=body, content_type=kind, headers={hdrs.CACHE_CONTROL: _DAY})


def read_docs() -> None:
    """Read Swagger UI, if it is installed: an upgrade may take it away."""
    with suppress(ApiError, OSError):
        for _, path in _FILES.values():
            _read(path)


@cache
def _read(path: str) -> bytes:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ApiError(
            HTTPStatus.NOT_FOUND, "not_found", f"Swagger UI is not installed ({PACKAGE}): pip install 'agentd[gateway]'"
        )
    return read_regular(Path(spec.submodule_search_locations[0]) / path, _LARGEST)


ROUTES = (
    Route("GET", "/docs", _page, "Try the interface in a browser", media_type="text/html"),
    Route("GET", "/docs/{file}", _file, "What the page /docs is made of", scope=None, shown=False),
)
