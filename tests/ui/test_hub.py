"""The cloud in a Lab that JupyterHub started, behind its proxy and the prefix of its user."""

import os
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from patience import PATIENCE
from playwright.sync_api import expect
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ui.beside import HUB
from ui.lab import free_port
from ui.notebook import allow_untrusted, picture, run_on, write
from ui.traffic import Traffic

SETTINGS = """
import sys
c = get_config()
c.JupyterHub.bind_url, c.JupyterHub.hub_bind_url, c.ConfigurableHTTPProxy.api_url = {addresses}
c.ConfigurableHTTPProxy.command = [sys.executable, "-c", "from configurable_http_proxy.cli import main; main()"]
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.cleanup_servers = True
c.Authenticator.allow_all = True
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.default_url = "/lab/tree/notebook.ipynb"
c.Spawner.environment = {environment!r}
"""


@contextmanager
def hub(folder, environment):
    """Run a JupyterHub whose users are who they say; give its address."""
    addresses = [f"http://127.0.0.1:{free_port()}" for _ in range(3)]
    addresses[0] += "/deep/hub/"
    homes = f"{folder}/{{username}}"
    (folder / "hub.py").write_text(SETTINGS.format(addresses=addresses, homes=homes, environment=environment))
    command = [sys.executable, "-m", "jupyterhub", "-f", "hub.py"]
    with (
        (folder / "hub.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env={**os.environ, **HUB.variables}, stdout=log, stderr=log) as it,
    ):
        try:
            for attempt in Retrying(
                stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), retry=retry_if_exception_type(httpx.HTTPError)
            ):
                with attempt:
                    httpx.get(f"{addresses[0]}hub/login").raise_for_status()
            yield addresses[0]
        finally:
            it.terminate()


@pytest.fixture
def address(cloud, tmp_path):
    """A hub, with a notebook in the home of alice."""
    home = tmp_path / "alice"
    home.mkdir()
    write(home / "notebook.ipynb", "print('hello from', 6 * 7)")
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with hub(tmp_path, {**signed_in, **HUB.variables}) as running:
        yield running


@pytest.mark.nightly  # as in Lab; below a prefix: test_stranger.py; without a sign-in: tests/serverext/test_proxy.py
@pytest.mark.timeout(900)
def test_a_user_of_a_hub_runs_a_cell_and_no_other_user_gets_at_the_cloud_by_it(address, page, cloud):
    traffic = Traffic(page)
    _enter(page, address, "alice")
    run_on(page, "H100")
    allow_untrusted(page)
    output = page.locator(".jp-Cell-outputArea").nth(1)  # the first loads the extension
    expect(output).to_contain_text("hello from 42")
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    run = panel.get_by_role("list", name="Runs").get_by_role("listitem").first
    expect(run).to_contain_text("completed, H100")
    run.get_by_role("button").first.click()
    expect(page.locator(".lk-document").get_by_role("log", name="Log")).to_contain_text("hello from 42")
    picture(page, "hub")
    traffic.is_without_secrets(cloud.api_key, "/user/alice/lk/runs/")
    status = f"{address}user/alice/lk/status"
    assert page.request.get(status).json()["state"] == "signed-in"
    page.context.clear_cookies()  # a stranger's browser
    _enter(page, address, "bob", "?next=%2Fdeep%2Fhub%2Fhub%2Ftoken")
    expect(page.get_by_role("button", name="Request new API token")).to_be_visible()
    refused = page.request.get(status)
    assert (refused.status, cloud.base_url in refused.text()) == (403, False)


def _enter(page, address, name, then=""):
    page.goto(f"{address}hub/login{then}")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("any")
    page.get_by_role("button", name="Sign in").click()
