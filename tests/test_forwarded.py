"""Each place that forwards parameters of a query or headers of others, and the list of what it forwards.

A new place is missing here, so this file fails until the place has a list and a row.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lk_jupyter
from lk_jupyter.api.ports import PAGE_HEADERS
from lk_jupyter.broker.app import _PARAMETERS
from lk_jupyter.broker.files import _ANSWER_HEADERS
from lk_jupyter.localcloud.runs.ports import _HOST_HEADERS, _PATH_HEADERS
from lk_jupyter.serverext.proxy import FILE_HEADERS

PACKAGE = Path(lk_jupyter.__file__).parent

#: Kind, file and function → the list, or why nothing is forwarded.
PLACES = {
    ("headers", "api/_body.py", "select_content_headers"): "headers of our own request",
    ("headers", "broker/app.py", "_answer_s3"): "checks the signature; files.py forwards a list",
    ("headers", "broker/files.py", "_forward_answer"): "_ANSWER_HEADERS",
    ("headers", "broker/files.py", "_select_forwarded_headers"): "_REQUEST_HEADERS",
    ("headers", "broker/storage.py", "send"): "headers that files.py has selected; its caller selects of the answer",
    ("headers", "connection/gate.py", "_price_question"): "headers of our own request",
    ("headers", "localcloud/buckets/seaweedfs.py", "ask"): "headers of our own request",
    ("headers", "localcloud/runs/ports.py", "_forward_request"): "to the user's own run; no cookies of this host",
    ("headers", "localcloud/runs/ports.py", "_select_answer_headers"): "_PATH_HEADERS or _HOST_HEADERS, for a browser",
    ("headers", "localcloud/runs/ports.py", "_select_socket_headers"): "to the user's own run; no cookies of this host",
    ("headers", "serverext/ports.py", "_pass_request"): "to the user's own VM without _WITHHELD; PAGE_HEADERS back",
    ("query", "broker/app.py", "_answer_s3"): "checks the signature; files.py forwards listed operations",
    ("query", "broker/app.py", "_call_operation"): "reads of the ledger, which use limit and offset",
    ("query", "broker/app.py", "_read_query"): "the parameters that the operation declares",
    ("query", "broker/app.py", "_stream_output"): "token is checked, and nothing is forwarded",
    ("query", "broker/signature.py", "sign"): "signs our own request",
    ("query", "broker/signature.py", "verify"): "checks a signature",
    ("query", "broker/visitors.py", "_end_hub_sign_in"): "state and code for the hub",
    ("query", "broker/visitors.py", "_export_month"): "month, which is parsed",
    ("query", "broker/visitors.py", "_export_runs"): "month, which is parsed",
    ("query", "broker/visitors.py", "_show_spending"): "month, which is parsed",
    ("query", "localcloud/replay.py", "_read_scope"): "replaces ids in a request to this cloud",
    ("query", "localcloud/runs/ports.py", "parse_port_request"): "to the user's own run, with the path",
    ("query", "remote/dask_head.py", "add_dashboard"): "to the user's own dashboard, on the VM",
    ("query", "remote/dask_head.py", "get"): "to the user's own dashboard, on the VM",
    ("query", "remote/script/stage.py", "_read_once"): "our own address",
    ("query", "serverext/ports.py", "_set_address"): "to the user's own VM, below a secret that no sign-in adds to",
    ("query", "serverext/proxy.py", "_read_query"): "the parameters that the operation declares",
    ("query", "storage/_s3_http.py", "_send_signed"): "our own request",
    ("query", "storage/_sign.py", "sign_headers"): "our own request",
}

#: Headers that act on the pages and the cookies of a server, on a proxy, or on the person.
ACTING = ["clear-site-data", "refresh", "link", "service-worker-allowed", "strict-transport-security", "nel", "alt-svc"]
ACTING += ["report-to", "x-accel-redirect", "x-sendfile", "x-of-next-year", "access-control-allow-private-network"]


def find_places(source):
    """Yield kind and function of each place that reads all parameters, or all headers, of another's message."""
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                if kind := find_kind(node):
                    yield kind, function.name


def find_kind(node):
    if isinstance(node, ast.Attribute):
        if node.attr in {"query_params", "query_arguments", "get_query_arguments"}:
            return "query"
        if node.attr == "query" and last_name(node.value) in {"request", "url"}:
            return "query"
        if node.attr in {"items", "raw", "multi_items", "get_all"} and last_name(node.value) == "headers":
            return "headers"
    if isinstance(node, ast.Constant) and node.value == "query_string":
        return "query"
    if isinstance(node, ast.Call) and last_name(node.func) in {"dict", "list"} and node.args:
        return "headers" if last_name(node.args[0]) == "headers" else None
    return "headers" if isinstance(node, ast.keyword) and node.arg == "header_callback" else None


def last_name(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def test_each_place_that_forwards_parameters_or_headers_has_a_list():
    places = {
        (kind, path.relative_to(PACKAGE).as_posix(), function)
        for path in PACKAGE.rglob("*.py")
        for kind, function in find_places(path.read_text("utf-8"))
    }
    assert places == PLACES.keys()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("query", "url = f'{base}/runs?{request.url.query}'"),
        ("query", "await send(path, params=dict(request.query_params))"),
        ("query", "url += scope['query_string'].decode()"),
        ("query", "client.get(url, params=self.request.query_arguments)"),
        ("headers", "return Response(body, headers=dict(answer.headers))"),
        ("headers", "for name, value in answer.headers.items(): self.set_header(name, value)"),
        ("headers", "await send({'type': 'http.response.start', 'headers': answer.headers.raw})"),
        ("headers", "for name, value in answer.headers.get_all(): self.set_header(name, value)"),
        ("headers", "HTTPRequest(url, header_callback=self.pass_header)"),
    ],
)
def test_a_new_place_would_be_noticed(kind, line):
    assert (kind, "planted") in set(find_places(f"async def planted():\n    {line}"))


def test_no_list_has_a_header_that_acts_on_other_pages():
    for headers in (PAGE_HEADERS, _PATH_HEADERS, _HOST_HEADERS, {name.lower() for name in FILE_HEADERS}):
        assert not headers & set(ACTING)
    assert not [
        name for name in (*ACTING, "set-cookie", "location", "www-authenticate") if _ANSWER_HEADERS.fullmatch(name)
    ]
    assert not {"set-cookie", "www-authenticate", "content-security-policy"} & (PAGE_HEADERS | _PATH_HEADERS)


def test_the_parameters_of_the_broker_are_those_of_the_declarations():
    assert {path for _, path in _PARAMETERS} == {
        "/execution/{execution_id}/metrics",
        "/logs/execution/{execution_id}",
        "/vms/list",
    }
    assert _PARAMETERS["GET", "/logs/execution/{execution_id}"] == {"limit", "hours"}
