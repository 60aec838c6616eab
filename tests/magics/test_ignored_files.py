"""Cells on a server that ignores the files of a request: the code contains the files then."""

import base64
import re
import zlib

import pytest

from lk_jupyter.config.assumptions import Assumptions
from lk_jupyter.protocol.parts import KEY


@pytest.fixture
def ignoring(make_cloud, home, monkeypatch):
    """Use a cloud that ignores import_files."""
    cloud = make_cloud("--strange", "import_files", "--engine", "none")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    return cloud


@pytest.fixture
def known(ignoring):
    """Use a cloud that is known to ignore import_files."""
    Assumptions(ignoring.base_url).store_finding("import_files", "ignored")
    return ignoring


def sent_code(cloud):
    """Return the code of the newest run, as its record shows the code."""
    rows = cloud.http.get("/billing/history").json()["executions"]
    newest = max(rows, key=lambda row: row["created_at"])
    return cloud.http.get(f"/execution/{newest['execution_id']}").json()["python_code"]


def test_the_first_cell_reports_the_ignored_files_and_the_next_cell_works(ignoring, run_cell, tmp_path):
    shown = run_cell("%%lk_run --gpu L40S\nprint('ra' + 'n')")
    assert "the cloud ignored the files of the request (import_files)" in shown
    assert "Run the cell again" in shown
    assert "ran\n" not in shown
    assert Assumptions(ignoring.base_url)["import_files"] == "ignored"
    shown = run_cell("%%lk_run --gpu L40S\nfrom fractions import Fraction\nprint('ra' + 'n')\nFraction(10, 14)")
    assert "ran\n" in shown
    assert "Fraction(5, 7)" in shown
    assert "Error" not in shown


def test_local_modules_and_sent_variables_arrive_inside_the_code(known, run_cell, shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper.py").write_text("WORD = 'hel' + 'per'\n")
    shell.user_ns["a"] = 41
    shown = run_cell(
        "%%lk_run --gpu L40S --in a\nfrom __future__ import annotations\nimport helper\nprint(helper.WORD, a + 1)"
    )
    assert "helper 42" in shown
    assert "Error" not in shown


def test_returned_variables_need_consent_because_the_record_would_contain_the_key(known, run_cell, shell):
    shown = run_cell("%%lk_run --gpu L40S --out b\nb = 42")
    assert "Nothing was sent. Allow it: --allow-secrets" in shown
    assert known.http.get("/billing/history").json()["executions"] == []
    shown = run_cell("%%lk_run --gpu L40S --out b --allow-secrets\nb = 42")
    assert shell.user_ns.get("b") == 42, shown


def test_the_code_contains_no_key_without_consent(known, run_cell):
    run_cell("%%lk_run --gpu L40S\n1")
    assert KEY not in unpacked(sent_code(known))
    run_cell("%%lk_run --gpu L40S --allow-secrets\n2")
    assert KEY in unpacked(sent_code(known))


def unpacked(code):
    """Return the files in the code of a run, as JSON."""
    return zlib.decompress(base64.b64decode(re.search(r"'packed': '([^']+)'", code)[1])).decode()


def test_a_check_finds_the_ignored_files(ignoring, run_cell):
    run_cell("%lk_check --spend")
    assert Assumptions(ignoring.base_url)["import_files"] == "ignored"
    assert "ran\n" in run_cell("%%lk_run --gpu L40S\nprint('ra' + 'n')")


def test_a_check_reports_a_refused_field_and_continues(make_cloud, home, monkeypatch, run_cell):
    cloud = make_cloud("--strange", "refused_fields", "--engine", "none")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    run_cell("%lk_check --spend")
    assert Assumptions(cloud.base_url)["refused_fields"] == "metadata"
    assert Assumptions(cloud.base_url).is_known("bucket_folder_python")
