"""Pages that this cloud shows in a browser, which replace the pages of the real cloud."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Local cloud</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 30em; margin: 4em auto; color-scheme: light dark }}
label {{ display: block; margin: .7em 0 }} [role=alert] {{ color: #c33 }}
</style>
<h1>Local cloud</h1>
{body}
"""


def page(body: str, status: int = 200) -> HTMLResponse:
    """Return a page with this HTML as body; no site can show the page in a frame."""
    headers = {"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "same-origin"}
    return HTMLResponse(_PAGE.format(body=body), status, headers={**headers, "Cache-Control": "no-store"})


def check_origin(request: Request) -> None:
    """Refuse a request for another host, and a click that another site made."""
    origin = request.headers.get("origin")
    if request.url.hostname not in LOOPBACK or (origin and urlsplit(origin).netloc != request.url.netloc):
        raise HTTPException(403, "Open this page only on the machine of the local cloud, at the cloud's address")
