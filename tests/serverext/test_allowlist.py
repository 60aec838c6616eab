"""Which paths a browser may ask for, whatever it sends."""

from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.serverext.allowlist import PREFIXES, REFUSED, NotAllowed, match

NAMES = ["v1", "openai", "iris", "storage", "download", "execution", "workloads", "abort", "vms", "auth", "login", "x"]
STEPS = ["..", ".", "%2e%2e", "%252e%252e", "%2F", "%2f..%2f", "%5c..", "..;", "%00", "%0a", "?a=b", "#", "\\", "", "%"]
PIECES = st.sampled_from([*NAMES, *STEPS, "%ff", "é"])
PATHS = st.lists(PIECES | st.text(max_size=6), max_size=7).map("/".join) | st.lists(PIECES, max_size=6).map("".join)


@settings(max_examples=150)  # it decides what a page may ask
@given(st.sampled_from(["GET", "POST", "DELETE", "PUT", "PATCH", "X"]), PATHS)
def test_no_path_of_a_browser_leads_to_another_operation(method, raw):
    try:
        found = match(method, raw)
    except NotAllowed:
        return
    assert found.endpoint.method == method
    assert found.endpoint.title not in REFUSED
    assert found.path.startswith(found.endpoint.server)
    path = found.path
    for _ in range(4):  # for a server that decodes what is decoded
        assert not {"..", "."} & set(path.replace("\\", "/").split("/"))
        assert path.isprintable()
        path = unquote(path)


@pytest.mark.parametrize(
    "raw", ["v1/storage/download/" + "%2e%2e%2f" * 5000, "/" * 100_000, "%" * 100_000, "a/" * 50_000]
)
def test_no_path_takes_long(raw):
    with pytest.raises(NotAllowed):
        match("GET", raw)
    assert PREFIXES


def test_every_refusal_names_an_operation():
    assert {endpoint.title for endpoint in ENDPOINTS} >= set(REFUSED)
