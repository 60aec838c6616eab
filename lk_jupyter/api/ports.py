"""Addresses at which the listening ports of a run answer."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

#: Where a local cloud passes requests on to a port of a run; what follows is the path there.
LOCAL_PATH = "/ports/{execution_id}/{port}/"


def port_url(base_url: str, execution_id: str, port: int) -> str:
    """Return the address at which a port of a run answers, with a slash at its end.

    ``base_url`` is the host part of the run's server. Requests and web sockets are passed on while the run is active.
    The program that listens there must guard itself, such as Jupyter by its token. A local cloud redirects a browser
    to an address that belongs to the port alone.
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
