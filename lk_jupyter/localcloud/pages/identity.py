"""Prove to the owner's programs that a cloud has the key of its data folder, before any program sends the key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse

from lk_jupyter.localcloud.launch import IDENTITY_PATH, MOST_NONCE, compute_proof
from lk_jupyter.localcloud.pages.page import check_origin

pages = APIRouter(dependencies=[Depends(check_origin)], include_in_schema=False)


@pages.get(IDENTITY_PATH)
def prove(request: Request, nonce: Annotated[str, Query(max_length=MOST_NONCE)]) -> PlainTextResponse:
    """Answer a nonce as only a holder of the key can."""
    cloud = request.app.state.cloud
    return PlainTextResponse(compute_proof(cloud.accounts.api_key, cloud.base_url, nonce))
