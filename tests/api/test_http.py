import base64
import json
import logging
import socket
import ssl
import threading
import time
import traceback

import httpx
import pytest
from api.scripted import KEY, RESET, jwt
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.api._client import Client
from lk_jupyter.api._failures import lost_request
from lk_jupyter.api._retry import TRIES
from lk_jupyter.api.execution import StreamingExecutionRequest
from lk_jupyter.errors import (
    ApiError,
    BadRequest,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    InvalidResponse,
    LkError,
    NotFound,
    NotSignedIn,
    OutcomeUnknown,
    PaymentRequired,
    RateLimited,
    ServerError,
    Unauthorized,
    UsageError,
)

PRICES = {"prices": [], "count": 0}
STARTED = {"execution_id": "e1", "status": "pending", "streaming_url": "https://stream.example/s3cr3t"}
REQUEST = StreamingExecutionRequest(code="print(1)")


def test_a_request_carries_the_key_the_organization_and_our_name(server, start_client):
    server.json(PRICES)
    assert len(start_client(org="acme-1").pricing.get()) == 0
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/api/v2/external/pricing")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-org-slug"] == "acme-1"
    assert request.headers["user-agent"] == f"lk_jupyter/{lk_jupyter.__version__}"
    assert request.headers["accept"] == "application/json"


def test_without_an_organization_there_is_no_header(server, client):
    server.json(PRICES)
    client.pricing.get()
    assert "x-org-slug" not in server.requests[0].headers


def test_a_body_holds_what_was_given_as_json(server, client):
    server.json(STARTED)
    client.execution.start_streaming(StreamingExecutionRequest(code="ä", labels=["x"]))
    (request,) = server.requests
    assert request.headers["content-type"] == "application/json"
    assert request.json["code"] == "ä"
    assert request.json["labels"] == ["x"]
    assert None not in request.json.values()


def test_the_address_of_the_api_itself_is_as_good_as_its_host(server):
    for base_url in (server.url + "/", server.url + "/api/v2/external", server.url + "/api/v2/external/"):
        server.json(PRICES)
        with Client(base_url, KEY) as client:
            client.pricing.get()
            assert client.base_url == server.url
    assert {request.path for request in server.requests} == {"/api/v2/external/pricing"}


@pytest.mark.parametrize(
    "base_url", ["", "api.lyceum.technology", "ftp://a.b", "https://", "https://me:pass@a.b", "http://[oops"]
)
def test_a_base_url_that_is_none_is_refused(base_url):
    with pytest.raises(UsageError, match="LK_BASE_URL"):
        Client(base_url, KEY)


@pytest.mark.parametrize("org", ["Acme", "a b", "ä", "a\nb"])
def test_an_organization_that_is_no_slug_is_refused(org):
    with pytest.raises(UsageError, match="isn't an organization slug"):
        Client("https://a.b", KEY, org=org)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (402, PaymentRequired),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (418, BadRequest),
        (422, Invalid),
        (500, ServerError),
    ],
)
def test_a_status_becomes_its_error_with_the_servers_words(server, client, status, kind):
    for _ in range(TRIES):
        server.json({"detail": "No access to gpu.h100"}, status, x_request_id="req-7")
    with pytest.raises(ApiError) as caught:
        client.pricing.get()
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.detail == "No access to gpu.h100"
    assert caught.value.request_id == "req-7"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"detail": "Run not found"}, "Run not found"),
        ({"error": "Run not found"}, "Run not found"),
        ({"error": {"message": "model not found", "type": "not_found_error"}}, "model not found"),
        ({"detail": [{"loc": ["body", "code"], "msg": "Field required", "type": "missing"}]}, "code: Field required"),
        (
            {
                "detail": [
                    {"loc": ["body", "files", 0], "msg": "too long"},
                    {"loc": ["query", "limit"], "msg": "too big"},
                ]
            },
            "files.0: too long; limit: too big",
        ),
        ({"detail": [{"msg": "odd"}, "odder", {"loc": "?"}]}, "odd; odder; ?: does not fit"),
        ({"detail": {"reason": 1}}, "{'reason': 1}"),
        ({}, "Scripted"),
        (["what"], "what"),
        (None, "Scripted"),
    ],
)
def test_the_servers_words_are_found_in_every_form(server, client, body, detail):
    server.json(body, 422)
    with pytest.raises(Invalid) as caught:
        client.pricing.get()
    assert caught.value.detail == detail


def test_plain_text_is_quoted_in_part(server, client):
    server.reply(b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + b"no " * 5000)
    with pytest.raises(BadRequest) as caught:
        client.pricing.get()
    assert caught.value.detail.startswith("no no no")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_a_web_page_is_no_answer_and_the_host_is_named(server, client, status):
    server.page(status)
    with pytest.raises(InvalidResponse) as caught:
        client.pricing.get()
    message = str(caught.value)
    assert f"{server.host} answered HTTP {status}" in message
    assert "text/html" in message
    assert "LK_BASE_URL" in message
    assert "Wi-Fi" not in message


def test_a_gateways_page_is_an_error_of_the_server(server, client):
    for _ in range(TRIES):
        server.page(502, "<html>Bad gateway nginx</html>")
    with pytest.raises(ServerError) as caught:
        client.pricing.get()
    assert "nginx" not in str(caught.value)


@pytest.mark.parametrize("body", ["{", "[]", '{"prices": 5}', ""])
def test_json_of_another_shape_names_the_operation_and_the_field(server, client, body):
    server.reply(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body.encode())
    with pytest.raises(InvalidResponse, match=r"GET /pricing") as caught:
        client.pricing.get()
    assert server.host in str(caught.value)
    if "prices" in body:
        assert "prices must be a list" in str(caught.value)


def test_an_empty_answer_is_none_where_that_is_declared(server, client):
    server.reply(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    assert client.execution.delete("e1") is None


# What is sent again


def test_a_read_is_sent_again_after_every_passing_fault(server, client):
    server.json({}, 500).json({}, 503).lose_answer().json(PRICES)
    assert client.pricing.get().count == 0
    assert len(server.requests) == TRIES


def test_a_read_is_given_up_after_some_tries(server, client):
    for _ in range(TRIES):
        server.lose_answer()
    with pytest.raises(ConnectionFailed, match=f"No answer from {server.host}"):
        client.pricing.get()
    assert len(server.requests) == TRIES


@pytest.mark.parametrize(
    "reply",
    [
        (),
        (RESET,),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{",),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n",),
        (b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>",),
        (b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n",),
    ],
    ids=["closed", "reset", "cut", "503", "502", "504"],
)
def test_a_start_that_was_not_answered_is_not_sent_twice(server, client, reply):
    server.reply(*reply)
    with pytest.raises(OutcomeUnknown, match=r"may have processed .*%lk_runs"):
        client.execution.start_streaming(REQUEST)
    assert len(server.requests) == 1


def test_a_start_whose_answer_takes_too_long_is_not_sent_twice(server, start_client):
    release = threading.Event()
    server.reply(release)
    with pytest.raises(OutcomeUnknown, match="took too long"):
        start_client(timeout=0.05).execution.start_streaming(REQUEST)
    release.set()
    assert len(server.requests) == 1


def test_a_start_that_the_server_turned_down_for_now_may_have_created_a_run_and_is_not_sent_again(server, client):
    server.json({"detail": "Too many requests"}, 429, retry_after="0").json(STARTED)
    with pytest.raises(RateLimited) as refusal:
        client.execution.start_streaming(REQUEST)
    assert (refusal.value.pause, len(server.requests)) == (0, 1)


def test_an_abort_that_the_server_turned_down_for_now_is_sent_again(server, client):
    server.json({"detail": "Too many requests"}, 429, retry_after="0")
    server.json({"execution_id": "e1", "status": "aborted", "message": "ok"})
    assert client.workloads.abort("e1").status == "aborted"


def test_a_start_that_the_server_broke_on_is_not_sent_again(server, client):
    server.json({"detail": "boom"}, 500)
    with pytest.raises(ServerError, match="boom"):
        client.execution.start_streaming(REQUEST)
    assert len(server.requests) == 1


def test_an_abort_is_sent_again_after_a_lost_answer(server, client):
    server.lose_answer().json({"execution_id": "e1", "status": "aborted", "message": "ok"})
    assert client.workloads.abort("e1").status == "aborted"


def test_too_many_requests_for_too_long_is_an_error(server, client):
    for _ in range(TRIES):
        server.json({"detail": "Too many requests"}, 429)
    with pytest.raises(RateLimited, match="Too many requests"):
        client.workloads.abort("e1")
    assert len(server.requests) == TRIES


def test_closing_the_client_ends_the_wait_for_the_next_try(server, start_client):
    server.json({}, 429, retry_after="60")
    client = start_client(backoff=1)
    ended = []

    def call():
        with pytest.raises((RateLimited, ConnectionFailed)):
            client.pricing.get()
        ended.append(True)

    thread = threading.Thread(target=call)
    thread.start()
    server.arrived.acquire(timeout=PATIENCE)
    client.close()
    thread.join(PATIENCE)
    assert ended == [True]


def test_a_closed_client_says_so(server, client):
    stream = client.follow("e1")
    client.close()
    for use in (client.pricing.get, lambda: next(client.follow("e1"))):
        with pytest.raises(ConnectionFailed, match="closed"):
            use()
    assert list(stream) == []
    assert server.requests == []


# No connection


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_is_not_there_is_named():
    port = _free_port()
    with Client(f"http://127.0.0.1:{port}", KEY, backoff=0) as client:
        for call in (
            client.pricing.get,
            lambda: client.execution.start_streaming(REQUEST),
            lambda: next(client.follow("e1")),
        ):
            with pytest.raises(
                ConnectionFailed, match=rf"Could not reach 127\.0\.0\.1:{port}: no program listens at this address"
            ):
                call()


def test_a_proxy_is_not_asked_for_this_machine_and_named_when_it_is_away(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{_free_port()}")
    server.json(PRICES).reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    with Client(server.url, KEY) as client:
        assert client.pricing.get().count == 0
        assert list(client.follow("e1")) == []
    with Client("http://api.example", KEY, backoff=0) as client, pytest.raises(ConnectionFailed, match=r"api\.example"):
        client.pricing.get()


def test_a_name_that_is_not_known_is_named():
    with (
        Client("http://no-such-host.invalid", KEY, backoff=0) as client,
        pytest.raises(ConnectionFailed, match=r"no-such-host\.invalid: the server's name is unknown.*LK_BASE_URL"),
    ):
        client.pricing.get()


@pytest.mark.parametrize(
    ("hears", "greeting", "words"),
    [
        (True, b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server doesn't use TLS.*http://"),
        (True, b"", "the connection broke"),
        (False, b"", "the connection broke"),
    ],
)
def test_a_server_without_tls_is_told_from_one_that_goes_away(hears, greeting, words):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def greet():
        for _ in range(TRIES):
            connection, _ = listener.accept()
            with connection:
                if hears:
                    connection.recv(1 << 16)
                connection.sendall(greeting)

    thread = threading.Thread(target=greet)
    thread.start()
    with Client(f"https://127.0.0.1:{port}", KEY, backoff=0) as client, pytest.raises(ConnectionFailed, match=words):
        client.pricing.get()
    thread.join(PATIENCE)
    listener.close()


def test_a_certificate_is_refused_with_its_reason():
    reason = ssl.SSLCertVerificationError(1, "certificate verify failed")
    reason.verify_message = "certificate has expired"
    failure = httpx.ConnectError("certificate verify failed")
    failure.__cause__ = reason
    told = lost_request(failure, "api.example").carries
    assert "api.example: the server's certificate isn't trusted (certificate has expired). If your organization" in told


# Sessions


def _pair(**more):
    return {"access_token": jwt(3600, "new"), "refresh_token": "refresh-2", **more}


def test_a_session_about_to_end_is_renewed_first(server, start_client):
    stored = []
    server.json(_pair()).json(PRICES).json(PRICES)
    client = start_client(jwt(299), refresh_token="refresh-1", on_refresh=lambda *pair: stored.append(pair))
    client.pricing.get()
    client.pricing.get()
    renewal, first, second = server.requests
    assert (renewal.method, renewal.path) == ("POST", "/api/v2/external/auth/refresh")
    assert renewal.json == {"refresh_token": "refresh-1"}
    assert "authorization" not in renewal.headers
    access, refresh = stored[0]
    assert first.headers["authorization"] == second.headers["authorization"] == f"Bearer {access}"
    assert refresh == "refresh-2"
    assert len(stored) == 1


def test_a_session_with_time_left_is_not_renewed(server, start_client):
    server.json(PRICES)
    start_client(jwt(320), refresh_token="refresh-1").pricing.get()
    assert len(server.requests) == 1


def test_a_refused_session_is_renewed_once_and_the_request_repeated(server, start_client):
    server.json({"detail": "expired"}, 401).json(_pair(refresh_token=None)).json(STARTED)
    stored = []
    client = start_client(jwt(3600), refresh_token="refresh-1", on_refresh=lambda *pair: stored.append(pair))
    assert client.execution.start_streaming(REQUEST).execution_id == "e1"
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["start", "refresh", "start"]
    assert server.requests[0].body == server.requests[2].body
    assert stored[0][1] == "refresh-1", "without a new refresh token the old one is kept"


def test_a_session_that_is_refused_again_is_an_error(server, start_client):
    server.json({"detail": "expired"}, 401).json(_pair()).json({"detail": "no such user"}, 401)
    with pytest.raises(Unauthorized, match=r"no such user[^%]*%lk_login"):
        start_client(jwt(3600), refresh_token="refresh-1").pricing.get()
    assert len(server.requests) == 3


def test_a_session_that_a_failing_server_does_not_renew_is_no_ended_one(server, start_client):
    server.json({"detail": "boom"}, 500).json(_pair()).json(STARTED)
    client = start_client(jwt(10), refresh_token="refresh-1")
    with pytest.raises(ConnectionFailed, match=r"couldn't be renewed: the server answered HTTP 500\."):
        client.execution.start_streaming(REQUEST)
    assert client.execution.start_streaming(REQUEST).execution_id == "e1"


@pytest.mark.parametrize("status", [400, 401, 422])
def test_a_session_that_is_not_renewed_asks_to_sign_in(server, start_client, status):
    server.json({"detail": "no"}, status)
    with pytest.raises(NotSignedIn, match="%lk_login"):
        start_client(jwt(10), refresh_token="refresh-1").execution.start_streaming(REQUEST)
    assert len(server.requests) == 1


def test_a_renewal_whose_answer_is_lost_is_not_taken_for_a_lost_start(server, start_client):
    server.lose_answer()
    with pytest.raises(ConnectionFailed, match="couldn't be renewed"):
        start_client(jwt(10), refresh_token="refresh-1").execution.start_streaming(REQUEST)


@pytest.mark.parametrize(
    "token", [jwt(-7200), "not.a-jwt.at-all", "eyJ.e30.x", "opaque"], ids=["ended", "malformed", "no claims", "opaque"]
)
def test_without_a_refresh_token_the_server_decides(server, start_client, token):
    server.json(PRICES).json({"detail": "bad token"}, 401)
    client = start_client(token)
    assert client.pricing.get().count == 0
    with pytest.raises(Unauthorized, match="bad token"):
        client.pricing.get()


def test_tokens_that_always_look_ended_are_not_renewed_for_each_request(server, start_client):
    """As with a clock that is an hour fast."""
    server.json(_pair(access_token=jwt(-3600))).json(PRICES).json(PRICES)
    client = start_client(jwt(-3600), refresh_token="refresh-1")
    client.pricing.get()
    client.pricing.get()
    assert [request.path.rpartition("/")[2] for request in server.requests] == ["refresh", "pricing", "pricing"]


def test_a_key_is_never_renewed(server, start_client):
    server.json({"detail": "revoked"}, 401)
    with pytest.raises(Unauthorized, match="revoked"):
        start_client(KEY, refresh_token="refresh-1").pricing.get()
    assert len(server.requests) == 1


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_without_a_key_nothing_is_sent(server, start_client, token):
    with pytest.raises(NotSignedIn, match="%lk_login"):
        start_client(token).pricing.get()
    assert server.requests == []


@pytest.mark.parametrize("token", ["lk_a b", "lk_ä", "lk_a\r\nX-Evil: 1"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(token):
    with pytest.raises(UsageError, match="Copy it again") as caught:
        Client("https://a.b", token)
    assert token not in str(caught.value)


def test_a_copied_key_may_have_blanks_around_it(server, start_client):
    server.json(PRICES)
    start_client(f" {KEY}\n").pricing.get()
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def claims_of(user, seconds_left=9000, mark="a"):
    """A session token of a user."""
    claims = json.dumps({"sub": user, "exp": time.time() + seconds_left, "mark": mark}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.sig"


def test_a_session_that_another_program_has_renewed_is_taken_over(server, start_client):
    renewed = claims_of("me", mark="b")
    server.json({"detail": "expired"}, 401).json(PRICES)
    client = start_client(claims_of("me"), refresh_token="used", latest=lambda: (renewed, "r2"))
    client.pricing.get()
    assert [request.path for request in server.requests] == ["/api/v2/external/pricing"] * 2
    assert server.requests[1].headers["authorization"] == f"Bearer {renewed}"


def test_a_session_that_another_program_renews_at_the_same_moment_is_taken_over(server, start_client):
    stored = [(claims_of("me"), "r1")]
    renewed = claims_of("me", mark="b")
    server.json({"detail": "expired"}, 401).json({"detail": "used"}, 401).json(PRICES)
    client = start_client(stored[0][0], refresh_token="r1", latest=lambda: stored.pop() if stored else (renewed, "r2"))
    client.pricing.get()
    assert server.requests[2].headers["authorization"] == f"Bearer {renewed}"


@pytest.mark.parametrize(
    "stored", [None, (claims_of("somebody else"), "r9"), ("lk_key", None)], ids=["nothing", "another user", "a key"]
)
def test_what_is_stored_for_somebody_else_is_left_alone(server, start_client, stored):
    server.json({"detail": "expired"}, 401).json({"access_token": claims_of("me", mark="c")}).json(PRICES)
    start_client(claims_of("me"), refresh_token="r1", latest=lambda: stored).pricing.get()
    assert server.requests[1].json == {"refresh_token": "r1"}


def test_a_stored_session_that_has_ended_too_is_renewed(server, start_client):
    server.json({"detail": "expired"}, 401).json({"access_token": claims_of("me", mark="c")}).json(PRICES)
    stored = (claims_of("me", seconds_left=-5, mark="b"), "r2")
    start_client(claims_of("me"), refresh_token="r1", latest=lambda: stored).pricing.get()
    assert server.requests[1].json == {"refresh_token": "r2"}


def test_two_threads_renew_a_session_once(server, start_client):
    both_refused = threading.Barrier(2)
    old = jwt(3600, "old")

    def handle(request):
        if request.path.endswith("/refresh"):
            server.json(_pair())
        elif request.headers["authorization"] == f"Bearer {old}":
            both_refused.wait(PATIENCE)
            server.json({"detail": "expired"}, 401)
        else:
            server.json(PRICES)
        return server.replies.pop()

    server.handler = handle
    client = start_client(old, refresh_token="refresh-1")
    threads = [threading.Thread(target=client.pricing.get) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    paths = [request.path.rpartition("/")[2] for request in server.requests]
    assert sorted(paths) == ["pricing"] * 4 + ["refresh"]


# Secrets

SECRETS = [KEY, jwt(10, "expiring"), jwt(9000, "lasting"), "refresh-s3cr3t", "s3cr3t-stream"]
KEY_, EXPIRING, LASTING, REFRESH, STREAM = SECRETS


def _echo(*secrets):
    return {"detail": f"Unknown credential {secrets}"}


def _errors(server, start_client):
    """Make each kind of error happen, with every kind of credential."""

    def start(client):
        return client.execution.start_streaming(REQUEST)

    def read(client):
        return client.pricing.get()

    def follow(client):
        return list(client.follow("e1", f"{server.url}/stream/{STREAM}?t={STREAM}"))

    def key():
        return start_client(KEY_)

    def session():
        return start_client(LASTING, refresh_token=REFRESH)

    def ending():
        return start_client(EXPIRING, refresh_token=REFRESH)

    rows = [
        (read, key, lambda: server.json(_echo(KEY_), 401)),
        (read, key, lambda: server.json(_echo(KEY_), 403)),
        (read, key, lambda: server.json({"detail": [{"loc": [KEY_], "msg": KEY_, "input": KEY_}]}, 422)),
        (read, key, server.page),
        (read, key, lambda: server.json({"prices": KEY_})),
        (start, key, server.lose_answer),
        (start, key, lambda: server.json({}, 503)),
        (read, session, lambda: server.json(_echo(LASTING), 401).json(_echo(REFRESH), 401)),
        (read, session, lambda: server.json(_echo(LASTING), 401).lose_answer()),
        (read, ending, lambda: server.json(_echo(REFRESH), 400)),
        (read, ending, server.page),
        (read, ending, lambda: server.json({"access_token": 5})),
        (follow, key, lambda: server.json({"detail": "gone"}, 404)),
        (follow, key, server.page),
        (
            follow,
            key,
            lambda: server.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n"),
        ),
        (follow, key, lambda: [server.lose_answer() for _ in range(TRIES)]),
    ]
    for act, credential, prepare in rows:
        client = credential()
        prepare()
        with pytest.raises(LkError) as caught:
            act(client)
        yield client, caught.value
        assert not server.replies


def test_no_error_shows_a_secret_in_its_text_its_repr_or_a_traceback_with_locals(server, start_client):
    for client, error in _errors(server, start_client):
        ours = error.__traceback__.tb_next.tb_next  # below the frames of this file
        rendered = "".join(traceback.TracebackException(type(error), error, ours, capture_locals=True).format())
        shown = [str(error), repr(error), repr(error.__dict__), rendered, repr(client), repr(client._http.__dict__)]
        assert "lk_jupyter" in rendered
        assert [secret for secret in SECRETS for text in shown if secret in text] == []


def test_no_object_shows_a_secret_in_its_repr(server, start_client):
    client = start_client(LASTING, refresh_token=REFRESH)
    server.json({**STARTED, "streaming_url": STREAM})
    stream = client.follow("e1", f"https://{server.host}/{STREAM}")
    shown = [
        repr(thing)
        for thing in (client, client.execution, stream, vars(stream), client.execution.start_streaming(REQUEST))
    ]
    assert [secret for secret in SECRETS for text in shown if secret in text] == []


def test_no_log_shows_a_secret_and_the_libraries_below_log_nothing_of_our_requests(server, start_client, caplog):
    caplog.set_level("DEBUG")
    logging.getLogger("httpcore.http11").debug("listened to")
    server.json({**STARTED, "streaming_url": STREAM}).reply(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    )
    client = start_client(LASTING, refresh_token=REFRESH)
    client.execution.start_streaming(REQUEST)
    assert list(client.follow("e1", f"{server.url}/{STREAM}")) == []
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "listened to" in logged
    assert "send_request_headers" not in logged
    assert [secret for secret in SECRETS if secret in logged] == []


def test_certificates_are_checked():
    with Client("https://a.b", KEY) as client, client._http._borrow_client() as calls:
        assert calls._transport._pool._ssl_context.verify_mode == ssl.CERT_REQUIRED


def test_a_client_that_was_closed_meanwhile_keeps_no_connection_for_a_request_that_fails(client):
    lent = client._http._borrow_client()
    calls = lent.__enter__()
    client.close()
    assert not lent.__exit__(ValueError, ValueError("odd"), None)
    assert calls.is_closed


def test_a_lock_that_an_interrupt_has_left_taken_holds_up_no_other_request(server, client, monkeypatch):
    def interrupted(calls, *_, **__):
        calls._transport._pool._optional_thread_lock.__enter__()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lk_jupyter.api._http.send_once", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.pricing.get()
    server.json(PRICES)
    other = threading.Thread(target=client.pricing.get, daemon=True)
    other.start()
    other.join(PATIENCE)
    assert len(server.requests) == 1
