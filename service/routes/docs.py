"""GET /docs: the OpenAPI document as a page to try it on, with nothing fetched from another host.

Swagger UI's script and style are those that `fastapi-offline` carries, instead of a content network's: a service often
stands where a browser reaches nothing else, and what its operators look at is nobody else's business. Addresses are
relative, so that the page works behind any prefix of a proxy.
"""

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS = "/docs/assets"
# No other site may show the page in a frame of its own and have a visitor press its buttons unawares (clickjacking);
# the second is for browsers that do not know the first.
OWN_FRAMES_ONLY = {"content-security-policy": "frame-ancestors 'self'", "x-frame-options": "SAMEORIGIN"}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Answer the page."""
    here = ASSETS.removeprefix("/")
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Ganymede",
        swagger_js_url=f"{here}/swagger-ui-bundle.js",
        swagger_css_url=f"{here}/swagger-ui.css",
        swagger_favicon_url=f"{here}/favicon.png",
    )
    page.headers.update(OWN_FRAMES_ONLY)
    return page


def assets() -> StaticFiles:
    """The files that the page names, to be mounted at `ASSETS`."""
    return StaticFiles(packages=[("fastapi_offline", "static")])
