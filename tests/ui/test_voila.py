"""Widgets in Voila, which shows a notebook as a page without its code."""

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files

import httpx
import pytest
from playwright.sync_api import expect
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ui.beside import VOILA
from ui.lab import FOLDERS, free_port
from ui.notebook import picture, write

CELL = """from lk_jupyter.options.runs import RunOptions
from lk_jupyter.widgets import *
display(form_for(RunOptions(gpu="A100", timeout=120)), Balance())"""


@pytest.fixture
def address(cloud, tmp_path):
    """A server of Voila with a notebook of two widgets; it serves no extension that is a link to its sources."""
    write(tmp_path / "notebook.ipynb", CELL)
    shutil.copytree(files("lk_jupyter") / "labextension", tmp_path / "jupyter/labextensions/lk-jupyter")
    url = f"http://127.0.0.1:{free_port()}"
    env = {**os.environ, **VOILA.variables, **dict.fromkeys(FOLDERS, str(tmp_path / "settings"))}
    env["JUPYTER_PATH"] = os.pathsep.join([str(tmp_path / "jupyter"), env["JUPYTER_PATH"]])
    env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(tmp_path / "journal")}
    options = ["notebook.ipynb", "--no-browser", f"--port={httpx.URL(url).port}", "--Voila.ip=127.0.0.1"]
    command = [sys.executable, "-m", "voila", *options]
    with (
        (tmp_path / "voila.log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log) as it,
    ):
        try:
            for attempt in Retrying(
                stop=stop_after_delay(60), wait=wait_fixed(0.1), retry=retry_if_exception_type(httpx.TransportError)
            ):
                with attempt:
                    httpx.get(f"{url}/voila/static/require.min.js").raise_for_status()
            yield url
        finally:
            it.terminate()


@pytest.mark.nightly  # as in Lab
@pytest.mark.timeout(300)
def test_widgets_live_in_voila_where_the_extension_of_lab_has_nothing_to_do(address, page, accessible):
    page.route(lambda url: not url.startswith(address), lambda route: route.abort())  # icons from a CDN
    page.goto(address)
    form, balance = (page.locator(".lk").filter(has_text=words) for words in ("--gpu", "Running now"))
    expect(form).to_contain_text("--gpu A100 --timeout 120", timeout=120_000)
    form.get_by_role("textbox", name="--timeout").fill("240")
    form.get_by_role("textbox", name="--timeout").press("Tab")
    expect(form).to_contain_text("--gpu A100 --timeout 240")
    expect(balance).to_contain_text(re.compile(r"\d\.\d\d credits"))
    accessible(form)
    picture(page, "voila")
