"""The package where none of its extras is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lk_jupyter._extras import build_extra_command, library, list_packages

BARE = Path(__file__).with_name("bare.py")

#: A Python that never had an extra, from ``make matrix``; here the packages are hidden instead.
PYTHON = os.environ.get("LK_BARE_PYTHON")


def test_without_extras_magics_and_client_work_and_the_rest_names_its_extra(signed_in, home):
    command = [PYTHON, BARE] if PYTHON else [sys.executable, BARE, "--hide"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_local_cloud_that_is_not_installed_names_its_extra(tmp_path):
    program = "import bare, runpy; bare.hide(); runpy.run_module('lk_jupyter.localcloud', run_name='__main__')"
    command = [sys.executable, "-c", program, "--data", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=BARE.parent)
    assert done.returncode == 1
    assert done.stderr.startswith("The local cloud needs uvicorn: ")
    install = "pip install --python " + sys.executable + " "  # it hides pip too
    assert install + '"argon2-cffi>=23.1" "asyncssh>=2.17" ' in done.stderr


def test_the_install_command_names_the_missing_packages_of_an_extra(monkeypatch):
    monkeypatch.setattr("lk_jupyter._extras._is_installed", lambda requirement: requirement.name != "matplotlib")
    assert list_packages("plot") == ["matplotlib>=3.8"]
    assert build_extra_command("plot").endswith('pip install "matplotlib>=3.8"')
    assert list_packages("unknown") == ["lk-jupyter[unknown]"]


def test_a_warning_at_the_import_of_a_library_is_no_news_for_a_user(tmp_path, monkeypatch, recwarn):
    (tmp_path / "lk_warns.py").write_text("import warnings\nwarnings.warn('DSA is deprecated')\nVALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert library("lk_warns", "vm").VALUE == 1
    assert [str(warning.message) for warning in recwarn] == []
