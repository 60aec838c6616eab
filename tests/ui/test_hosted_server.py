"""The page that leads to a hosted Jupyter server: one click and one paste sign a browser in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

import lk_jupyter
from lk_jupyter.magics import notebook
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.runs.notebooks.servers import read_password, start_server, wait_for_server

pytestmark = [pytest.mark.xdist_group("hosted"), pytest.mark.filterwarnings("ignore:unclosed")]


@pytest.mark.nightly  # tests/magics/test_notebook.py
def test_the_page_copies_the_password_which_signs_the_browser_in_and_is_in_no_address(page, hosting, home):
    with lk_jupyter.connect(hosting.base_url, hosting.api_key) as session:
        run = start_server(session, ServerOptions(machine="cpu"))
        wait_for_server(run).close()
        addresses = []
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(notebook._write_page(run).as_uri())
        expect(page.get_by_label("Password")).to_have_attribute("type", "password")
        page.get_by_role("button", name="Copy the password and open the server").click()
        page.get_by_label("Password:").focus()
        page.keyboard.press("ControlOrMeta+v")
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "login" not in url)
        assert page.evaluate("fetch('/api/kernels').then(response => response.json())") == []
        assert [url for url in addresses if read_password(run) in url] == []
        run.abort()
