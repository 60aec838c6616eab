"""Proxies of the environment: which proxy a request uses, in words without credentials, and whether it is usable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from lk_jupyter.config.files import LOOPBACK
from lk_jupyter.errors import UsageError

#: Schemes of proxies; SOCKS proxies need a package of the library that sends the request.
_HTTP, _SOCKS = frozenset({"http", "https"}), frozenset({"socks5", "socks5h"})

#: The source of a proxy without a variable, on macOS and Windows.
_SYSTEM = "the proxy settings of this computer"

_EXAMPLE = "http://proxy.example:8080"


@dataclass(frozen=True)
class ProxyServer:
    """A proxy: the variable that names it, and its address with the user name and password of the user."""

    variable: str
    address: SplitResult

    def __str__(self) -> str:
        return f"proxy {self.host} ({self.variable})"

    def __repr__(self) -> str:
        return f"ProxyServer({self.variable!r}, {self.url!r})"

    @property
    def host(self) -> str:
        """The host and port."""
        return self.address.netloc.rpartition("@")[2]

    @property
    def url(self) -> str:
        """The address without user name and password."""
        return f"{self.address.scheme}://{self.host}"

    @property
    def is_socks(self) -> bool:
        """Whether the proxy is a SOCKS proxy."""
        return self.address.scheme in _SOCKS


def find_proxy(url: str) -> ProxyServer | None:
    """Return the proxy of the environment for requests to this address; None for a direct connection."""
    try:
        target = urlsplit(url)
        host = target.hostname or ""
    except ValueError:
        return None
    if not host or host in LOOPBACK or proxy_bypass(host):
        return None
    proxies = _read_proxies()
    return proxies.get(target.scheme) or proxies.get("all")


def uses_proxies(base_url: str, *, package: str = "socksio", install: str = "httpx[socks]") -> bool:
    """Return whether requests to a server may use proxies of the environment: never on this computer.

    ``package`` is the package that a SOCKS proxy needs. Raises UsageError if a proxy can't be used.
    """
    if (urlsplit(base_url).hostname or "") in LOOPBACK:
        return False
    for proxy in _read_proxies().values():
        if not _is_proxy_address(proxy.address):
            raise UsageError(
                f"{proxy.variable} is '{proxy.url}', which isn't the address of an HTTP or SOCKS5 proxy. Nothing was "
                f"sent. Example: {proxy.variable}={_EXAMPLE}"
            )
        if proxy.is_socks and find_spec(package) is None:
            raise UsageError(
                f"{proxy.variable} is '{proxy.url}', and SOCKS proxies need the package {package}. Nothing was sent. "
                f'Install it: %pip install "{install}"'
            )
    return True


def _read_proxies() -> dict[str, ProxyServer]:
    """Return the proxies of the environment: by the scheme of the requests, or ``all``."""
    proxies = {}
    for scheme, address in getproxies().items():
        if scheme in {"http", "https", "all"} and address:
            parts = urlsplit(address if "://" in address else f"http://{address}")
            proxies[scheme] = ProxyServer(_find_variable(f"{scheme}_proxy"), parts)
    return proxies


def _find_variable(name: str) -> str:
    """Return the variable that sets a proxy; a name in lower case has precedence."""
    names = [each for each in os.environ if each.lower() == name]
    return name if name in names else next(iter(names), _SYSTEM)


def _is_proxy_address(address: SplitResult) -> bool:
    try:
        return address.scheme in _HTTP | _SOCKS and bool(address.hostname) and address.port != 0
    except ValueError:
        return False
