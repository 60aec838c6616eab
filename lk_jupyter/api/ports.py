"""Addresses of the listening ports of a run."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

#: Path at which a local cloud forwards requests to a port of a run; the rest is the path on the port.
LOCAL_PATH = "/ports/{execution_id}/{port}/"

#: Headers of a program's answer that a browser gets at an address of another server: they describe the content. Any
#: other header could act on the pages and the cookies of that server (Clear-Site-Data), on a proxy (X-Accel-Redirect)
#: or on the person (WWW-Authenticate).
PAGE_HEADERS = frozenset(
    {"accept-ranges", "content-disposition", "content-encoding", "content-language", "content-range", "content-type"}
    | {"age", "cache-control", "date", "etag", "expires", "last-modified", "retry-after", "vary"}
)


def port_url(base_url: str, execution_id: str, port: int) -> str:
    """Return the address of a port of a run, with a slash at its end.

    ``base_url`` is the host part of the run's server. Requests and web sockets are forwarded while the run is
    active. The program on the port must protect itself, as Jupyter does with a token. A local cloud redirects a
    browser to an address that belongs to the port alone.
    """
    parts = urlsplit(base_url)
    if _is_loopback(parts.hostname or ""):
        return base_url.rstrip("/") + LOCAL_PATH.format(execution_id=execution_id, port=port)
    return f"https://{execution_id}-{port}.port.{(parts.hostname or '').removeprefix('api.')}/"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
