"""The description of this cloud's API, generated from its routes by FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request

from lk_jupyter.api._endpoint import EXTERNAL
from lk_jupyter.localcloud.context import BEARER
from lk_jupyter.localcloud.pages.page import check_origin

PATH = "/openapi.json"

pages = APIRouter(dependencies=[Depends(check_origin)], include_in_schema=False)


@pages.get(PATH)
def complete(request: Request) -> dict[str, Any]:
    """Describe everything that is served here."""
    described: dict[str, Any] = request.app.openapi()
    described["components"].setdefault("securitySchemes", {})[BEARER] = {"type": "http", "scheme": "bearer"}
    return described


@pages.get(EXTERNAL + PATH)
def external(request: Request) -> dict[str, Any]:
    """Describe the operations below the API's prefix, with paths relative to the prefix, like a mounted application."""
    described = complete(request)
    paths = {path.removeprefix(EXTERNAL): row for path, row in described["paths"].items() if path.startswith(EXTERNAL)}
    return {**described, "servers": [{"url": EXTERNAL}], "paths": paths}
