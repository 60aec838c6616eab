"""A port of a VM in a Jupyter server: for its signed-in user, in a sandbox, with all methods and web sockets."""

import asyncio
import json
import socket
import threading

import httpx
import pytest
from serverext.conftest import running
from websockets.asyncio.client import connect as connect_socket

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")

VM_ID = "0123456789abcdef" * 2

#: Headers of an answer that act on the pages and the cookies of the server, on a proxy or on the person, or none.
ACTING = ["set-cookie", "clear-site-data", "refresh", "service-worker-allowed", "strict-transport-security", "nel"]
ACTING += ["report-to", "www-authenticate", "x-accel-redirect", "x-sendfile", "referrer-policy", "link", "alt-svc"]
ACTING += ["access-control-allow-credentials", "content-security-policy-report-only", "x-of-next-year"]


async def program(scope, receive, send):
    """Answer as a program on a VM: echo requests and messages, redirect, and stream."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"echo {message['text']}"})
    elif scope["type"] == "http":
        message, body = {"more_body": True}, b""
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        names = sorted(name.decode() for name, _ in scope["headers"])
        facts = {"method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode()}
        content = json.dumps({**facts, "body": body.decode(), "headers": names}).encode()
        if scope["path"].endswith(".html"):
            content = b"<!doctype html><html><head lang=en><title>curves</title></head></html>"
        is_moved = scope["path"] == "/moved"
        headers = [
            *((name.encode(), b"1") for name in ACTING),
            (b"etag", b"1"),
            (b"content-type", b"text/html" if scope["path"].endswith(".html") else b"text/plain"),
            *([(b"location", b"/data/plugin/")] if is_moved else []),
        ]
        await send({"type": "http.response.start", "status": 302 if is_moved else 201, "headers": headers})
        await send({"type": "http.response.body", "body": content[:40], "more_body": True})
        await send({"type": "http.response.body", "body": content[40:]})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Jupyter server, with the port 6006 of a VM that a kernel has forwarded."""
    import uvicorn  # noqa: PLC0415 (only with the extra)

    folder = tmp_path_factory.mktemp("lk")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "port"))
    app = uvicorn.Server(uvicorn.Config(program, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=app.run, kwargs={"sockets": [listener]})
    thread.start()
    place = {"socket": str(folder / "port"), "host": "", "port": 6006}
    (folder / "vms").mkdir()
    (folder / "vms" / f"{VM_ID}.6006.forward").write_text(json.dumps(place))
    with running(folder, LK_JOURNAL=str(folder / "journal.db")) as jupyter:
        yield jupyter
    app.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def address(server):
    """The address with the secret that the signed-in user gets."""
    answer = server.get(f"ports/{VM_ID}/6006/", follow_redirects=False)
    assert answer.status_code == 302
    return (
        server.url.rstrip("/")
        + "/"
        + answer.headers["location"].partition("/lk/")[1].lstrip("/")
        + (answer.headers["location"].partition("/lk/")[2])
    )


def test_only_the_signed_in_user_gets_the_address_of_a_port(server, address):
    with httpx.Client(base_url=server.url) as stranger:
        for path in (f"lk/ports/{VM_ID}/6006/", "lk/ports/0000/6006/", "lk/ports/../x"):
            assert stranger.get(path).status_code in {403, 404}
            assert stranger.post(path).status_code in {403, 404}
    assert len(address.rstrip("/").rpartition("/")[2]) == 64
    for path in (f"ports/{VM_ID}/7007/", f"ports/{'f' * 32}/6006/"):
        assert server.get(path).status_code == 404
    assert server.get(f"ports/{VM_ID}/..%2f..%2fx/").status_code in {403, 404}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_of_a_page_reaches_the_program_without_the_cookies_of_the_server(server, address, method):
    headers = {"Cookie": "_xsrf=s3cr3t", "Authorization": "token s3cr3t", "X-App": "1", "Origin": "null"}
    answer = httpx.request(method, f"{address}data/runs?tag=loss", headers=headers, content=b"{}")
    facts = answer.json()
    assert (answer.status_code, facts["method"], facts["path"]) == (201, method, "/data/runs")
    assert (facts["query"], facts["body"], "x-app" in facts["headers"]) == ("tag=loss", "{}", True)
    assert not {"cookie", "authorization", "origin"} & set(facts["headers"])
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert answer.headers["access-control-allow-origin"] == "null"
    assert answer.headers["etag"] == "1"
    assert not [name for name in ACTING if answer.headers.get(name) == "1"]


def test_a_page_gets_a_storage_because_reading_the_storage_of_a_sandbox_is_an_error(server, address):
    text = httpx.get(f"{address}index.html", headers={"Accept": "text/html"}).text
    before, _, after = text.partition("<script>")
    assert before == "<!doctype html><html><head lang=en>"
    assert ("localStorage" in after, after.endswith("</script><title>curves</title></head></html>")) == (True, True)


def test_a_redirect_of_the_program_stays_below_the_secret_and_a_page_may_ask_before_a_request(server, address):
    answer = httpx.get(f"{address}moved", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, httpx.URL(address).path + "data/plugin/")
    headers = {"Origin": "null", "Access-Control-Request-Headers": "content-type"}
    assert httpx.options(f"{address}data", headers=headers).headers["access-control-allow-headers"] == "content-type"


def test_messages_of_a_web_socket_reach_the_program(server, address):
    async def exchange():
        async with connect_socket(address.replace("http", "ws", 1) + "events", proxy=None) as websocket:
            await websocket.send("a")
            return await websocket.recv()

    assert asyncio.run(exchange()) == "echo a"
