"""Proxies of the environment: errors name the proxy, without its password; an unusable proxy is a clear message."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest
from api.scripted import KEY, ScriptedServer

from lk_jupyter.api._client import Client
from lk_jupyter.api._proxy import find_proxy
from lk_jupyter.api.hosted import HostedServer, answers
from lk_jupyter.broker.upstream import OrganizationClient
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, StorageError, UsageError
from lk_jupyter.serverext.request_problem import RequestProblem
from lk_jupyter.serverext.upstream_provider import UpstreamProvider
from lk_jupyter.storage._s3_http import _open_connection

CLOUD = "http://api.example"

#: A secret of the proxy, which no text may contain.
PASSWORD = "sekret-proxy-word"

NAMES = [f"{name}_{'proxy'}" for name in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def environment(home, monkeypatch):
    """An environment without proxies, and without packages for SOCKS."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for package in ("socksio", "python_socks"):
        monkeypatch.setitem(sys.modules, package, None)
    return monkeypatch


@pytest.fixture
def proxy():
    server = ScriptedServer()
    yield server
    server.close()


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def read_error(url=CLOUD, error=ConnectionFailed):
    with Client(url, KEY, backoff=0) as client, pytest.raises(error) as caught:
        client.pricing.get()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_that_is_not_running_is_named_with_its_variable_and_without_its_password(environment, variable):
    address = free_address()
    environment.setenv(variable, f"http://me:{PASSWORD}@{address}")
    words = read_error()
    assert f"no program listens at the proxy {address} ({variable}). Check {variable}." in words
    assert "LK_BASE_URL" not in words


def test_a_proxy_with_an_unknown_name_is_named(environment):
    environment.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@proxy.invalid:8080")
    words = read_error("https://api.example")
    assert "the name of the proxy proxy.invalid:8080 (HTTPS_PROXY) is unknown" in words


def test_a_proxy_that_refuses_the_connection_is_named_with_its_status(environment, proxy):
    proxy.handler = lambda _: (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",)
    environment.setenv("HTTPS_PROXY", proxy.url)
    words = read_error("https://api.example")
    assert (
        f"the proxy {proxy.url[7:]} (HTTPS_PROXY) refused the connection (403 Forbidden). Check HTTPS_PROXY." in words
    )


@pytest.mark.parametrize("url", [CLOUD, "https://api.example"])
def test_a_proxy_that_needs_a_user_name_is_named(environment, proxy, url):
    reply = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nProxy-Authenticate: Basic\r\n\r\n"
    proxy.handler = lambda _: (reply,)
    variable = f"{url.partition(':')[0].upper()}_PROXY"
    environment.setenv(variable, proxy.url)
    assert f"the proxy {proxy.url[7:]} ({variable})" in read_error(url)


def test_a_page_of_a_proxy_is_reported_with_the_proxy(environment, proxy):
    proxy.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
    environment.setenv("HTTP_PROXY", proxy.url)
    assert f"The proxy {proxy.url[7:]} (HTTP_PROXY) or a sign-in page" in read_error(error=InvalidResponse)


def test_hosts_of_no_proxy_and_this_computer_have_no_proxy(environment):
    environment.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    environment.setenv("NO_PROXY", "inside.example")
    assert find_proxy("https://inside.example/x") is None
    assert find_proxy("http://127.0.0.1:7") is None
    assert find_proxy("https://api.example").variable == "ALL_PROXY"


def test_the_text_and_the_repr_of_a_proxy_hide_its_password(environment):
    environment.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@proxy.example:8080")
    found = find_proxy("https://api.example")
    assert f"{found} {found!r} {[found]}" == (
        "proxy proxy.example:8080 (HTTPS_PROXY) ProxyServer('HTTPS_PROXY', 'http://proxy.example:8080') "
        "[ProxyServer('HTTPS_PROXY', 'http://proxy.example:8080')]"
    )


# A proxy that this Python can't use

SOCKS = f"socks5://me:{PASSWORD}@proxy.example:1080"

#: Proxy → the message.
UNUSABLE = {
    SOCKS: "ALL_PROXY is 'socks5://proxy.example:1080', and SOCKS proxies need the package {}. Nothing was sent.",
    "foo://proxy.example": "ALL_PROXY is 'foo://proxy.example', which isn't the address of an HTTP or SOCKS5 proxy. "
    "Nothing was sent. Example: ALL_PROXY=http://proxy.example:8080",
    "http://proxy.example:99999": "isn't the address of an HTTP or SOCKS5 proxy",
}


@pytest.mark.parametrize("address", UNUSABLE)
@pytest.mark.parametrize(
    "use",
    [
        lambda: read_error(error=UsageError),
        lambda: HostedServer("https://run-8888.port.example/", "word"),
        lambda: answers("https://run-8888.port.example/"),
        lambda: OrganizationClient("https://api.example", KEY),
    ],
    ids=["client", "hosted server", "port", "broker"],
)
def test_an_unusable_proxy_is_a_message_with_its_state_and_fix(environment, address, use):
    environment.setenv("ALL_PROXY", address)
    try:
        words = use()
    except UsageError as problem:
        words = str(problem)
    assert UNUSABLE[address].format("socksio") in words
    assert PASSWORD not in words


def test_the_local_cloud_needs_no_proxy(environment, cloud):
    environment.setenv("ALL_PROXY", SOCKS)
    with Client(cloud.base_url, cloud.api_key) as client:
        assert client.user.status().user_id


def test_the_bucket_is_not_reached_through_a_socks_proxy_and_nothing_is_sent(environment):
    environment.setenv("ALL_PROXY", SOCKS)
    with pytest.raises(StorageError, match=r"'socks5://proxy\.example:1080' \(ALL_PROXY\).*Nothing was sent.*NO_PROXY"):
        _open_connection("https://s3.example")


def test_lab_reports_an_unusable_proxy_as_an_unreachable_server(environment):
    environment.setenv("ALL_PROXY", SOCKS)
    environment.setenv("LK_BASE_URL", "https://api.example")
    environment.setenv("LK_API_KEY", KEY)
    with pytest.raises(RequestProblem, match="SOCKS proxies need the package socksio") as caught:
        asyncio.run(UpstreamProvider().upstream())
    assert caught.value.state == "unreachable"


#: Programs without packages for SOCKS.
WITHOUT_SOCKS = "import sys; sys.modules.update(socksio=None, python_socks=None); "


@pytest.mark.parametrize(
    "code",
    [
        "from lk_jupyter.cli import main; sys.exit(main(['runs']))",
        (
            "from IPython.core.interactiveshell import InteractiveShell as Shell; shell = Shell.instance(); "
            "shell.run_cell('%load_ext lk_jupyter'); shell.run_cell('%lk_runs')"
        ),
        "from lk_jupyter.check.__main__ import main; sys.exit(main([]))",
    ],
    ids=["lk", "magics", "check"],
)
def test_every_face_reports_a_missing_package_for_socks_without_an_import_traceback(environment, code):
    env = {**os.environ, "ALL_PROXY": SOCKS, "LK_BASE_URL": "https://api.example", "LK_API_KEY": KEY}
    process = subprocess.run(
        [sys.executable, "-c", WITHOUT_SOCKS + code], env=env, capture_output=True, text=True, check=False
    )
    shown = process.stdout + process.stderr
    assert "SOCKS proxies need the package socksio. Nothing was sent." in shown
    assert "ImportError" not in shown
    assert PASSWORD not in shown
