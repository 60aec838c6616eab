"""The first hour of a newcomer who follows the README: install, three cells without an account, the quickstart."""

import os
import re
import secrets
import subprocess
import sys
import venv
from pathlib import Path

import psutil
import pytest
from patience import PATIENCE
from playwright.sync_api import expect

from ui import lab, notebook

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")

#: Seconds after the sign-in within which Lab shows the account.
SIGNED_IN = 1.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The interpreter of an empty environment after the README's first install command in a clone."""
    folder = tmp_path_factory.mktemp("newcomer")
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), folder / "clone"], check=True)
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    (requirement,) = re.findall(r"^pip install '(\.\[\w+\])'", README, re.MULTILINE)
    subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], cwd=folder / "clone", check=True)
    return str(python)


@pytest.fixture
def empty_lab(installed, tmp_path, monkeypatch):
    """JupyterLab from that environment in an empty folder, with a home without any settings."""
    for name in [name for name in os.environ if name.startswith(("LK_", "LYCEUM_", "PYTHON"))]:
        monkeypatch.delenv(name)
    home, root, settings = (tmp_path / name for name in ("home", "work", "settings"))
    for folder in (home, root):
        folder.mkdir()
    lab.be_quiet(settings, has_test_modules=False)
    (first,) = re.findall(r"^Three cells.*?(?=^The second cell)", README, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^```python\n(.*?)\n```", first, re.MULTILINE | re.DOTALL)
    notebook.write(root / "first.ipynb", *cells)
    served = lab.Lab(f"http://127.0.0.1:{lab.free_port()}", secrets.token_hex(16), root, python=installed)
    with lab.serving(served, settings, {"HOME": str(home), "PYTHONPATH": "", "JUPYTER_PREFER_ENV_PATH": "1"}):
        yield served
    clouds = [
        each
        for each in psutil.process_iter(["cmdline"])
        if "lk_jupyter.localcloud" in (each.info["cmdline"] or []) and str(settings) in " ".join(each.info["cmdline"])
    ]
    for local_cloud in clouds:
        local_cloud.terminate()  # so that it unmounts its bucket
    assert clouds
    assert not psutil.wait_procs(clouds, timeout=PATIENCE)[1]


def test_the_readme_leads_from_the_install_to_the_first_curve(empty_lab, page):
    page.goto(f"{empty_lab.url}/lab/tree/first.ipynb?token={empty_lab.token}&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.wait_for_function(notebook.KERNEL_IS_READY, polling=notebook.LOOK)
    book = notebook.OpenNotebook(page)
    status = page.locator("#jp-main-statusbar")
    book.run(0)
    book.ended()
    expect(status).to_contain_text("Local user · 100.00 credits", timeout=1000 * SIGNED_IN)
    expect(status).not_to_contain_text("Sign in")
    book.take_journey_pictures("readme-signed-in")

    for cell in (1, 2):
        book.run(cell)
    book.ended()
    expect(book.output(1)).to_contain_text("Hello from a run")
    expect(book.output(2)).to_contain_text("499999500000")
    book.take_journey_pictures("readme-three-cells")

    page.evaluate(notebook.LEAVE)
    page.locator(".jp-LauncherCard[data-category='GPU cloud']", has_text="GPU cloud").click()
    page.wait_for_function(notebook.KERNEL_IS_READY, polling=notebook.LOOK)
    for cell in (1, 2, 4):
        book.run(cell)
    book.ended()
    expect(book.output(2)).to_contain_text("epoch 8/8")
    expect(book.output(2).get_by_role("img").first).to_be_visible()  # the curve
    expect(book.output(4)).to_contain_text("of 450 digits are right")
    book.take_journey_pictures("readme-first-curve")
