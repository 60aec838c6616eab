"""What the cloud keeps, by its own operations: the bucket without S3, files of batches, records, mixed logs."""

import re
from pathlib import Path

import pytest
from magics.people import answers

from lk_jupyter.api._files import Upload
from lk_jupyter.api.files import BatchFileUpload

pytestmark = pytest.mark.usefixtures("signed_in")


@pytest.fixture(autouse=True)
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    Path("a.csv").write_text("x\n1\n")
    Path("b.csv").write_text("x\n2\n")
    return home


def test_the_bucket_is_used_by_the_api_alone(run_cell, here, monkeypatch):
    assert "Uploaded lk://api/one.csv, 4 B." in run_cell("%lk_bucket put a.csv --to api/one.csv")
    assert "Uploaded 2 of 2 files to lk://api/." in run_cell("%lk_bucket put a.csv b.csv --to lk://api")
    assert re.search(r"api/b\.csv +4 B", run_cell("%lk_bucket list api/"))
    assert "There may be more than 1" in run_cell("%lk_bucket list api/ -n 1")
    run_cell("%lk_bucket get api/b.csv back.csv")
    assert Path("back.csv").read_text() == "x\n2\n"
    monkeypatch.setattr("builtins.input", answers("n"))
    assert "Nothing was deleted." in run_cell("%lk_bucket delete api/b.csv")
    assert "Deleted lk://api/b.csv." in run_cell("%lk_bucket delete api/b.csv --yes")
    assert "b.csv" not in run_cell("%lk_bucket list api/")
    assert "Deleted lk://api/." in run_cell("%lk_bucket delete api/ --yes")
    assert "No files yet." in run_cell("%lk_bucket list api/")


def test_what_is_not_there_is_told_before_anything_is_sent(run_cell):
    assert "No file 'gone.csv' in" in run_cell("%lk_bucket put a.csv gone.csv --to api/")
    assert "No files yet." in run_cell("%lk_bucket list api/")
    assert run_cell("%lk_bucket get api/gone.csv").startswith("NotFound: ")
    assert not list(Path.cwd().glob("*.part"))
    assert "it doesn't delete the entire bucket" in run_cell("%lk_bucket delete / --yes")


def test_files_of_batches_are_listed_fetched_and_deleted(run_cell, signed_in):
    upload = Upload(b'{"custom_id": "1"}\n', name="questions.jsonl", content_type="application/jsonl")
    made = signed_in.client.files.upload(BatchFileUpload(file=upload))
    assert re.search(rf"{made.id} +questions\.jsonl +batch +19 B", run_cell("%lk_files"))
    assert "questions.jsonl" in run_cell(f"%lk_files show {made.id}")
    run_cell(f"%lk_files get {made.id}")
    assert Path("questions.jsonl").read_text() == '{"custom_id": "1"}\n'
    assert "already exists. Nothing was downloaded" in run_cell(f"%lk_files get {made.id}")
    assert f"Deleted {made.id}." in run_cell(f"%lk_files delete {made.id} --yes")
    assert run_cell(f"%lk_files show {made.id}").startswith("NotFound: ")


def test_the_record_of_a_run_is_removed(run_cell):
    run_id = re.search(r"run (\S{36})", run_cell("%%lk_run --gpu A100 --quiet\nprint('to be forgotten')"))[1]
    assert "to be forgotten" in run_cell("%lk_logs --hours 1")
    assert f"{run_id[:8]}  to be forgotten" in run_cell("%lk_logs --hours 1")
    assert re.search(r" \d[\d.]* s", run_cell(f"%lk_status {run_id[:8]}"))
    assert "Nothing was deleted." in run_cell(f"%lk_delete {run_id[:8]}")
    assert f"Deleted the record of run {run_id}." in run_cell(f"%lk_delete {run_id[:8]} --yes")


def test_machines_of_the_quotas_stand_beside_those_with_a_price(run_cell):
    assert len(run_cell("%lk_machines --all").splitlines()) >= len(run_cell("%lk_machines").splitlines())


@pytest.mark.parametrize("client", ["openai", "iris", "anthropic"])
def test_what_stock_clients_find_is_listed(run_cell, client):
    assert run_cell(f"%lk_models --at {client}").startswith(f"Model id at {client}\n")


def test_a_cell_is_tried_on_every_gpu(run_cell):
    plan = run_cell("%%lk_select --dry-run\nprint(1)")
    assert re.search(r"A100 +gpu\.a100 +0\.0269 credits", plan)
    assert "Nothing was sent." in run_cell("%%lk_select\nprint(1)")
    shown = run_cell("%%lk_select --timeout 30 --yes\nprint(sum(range(1000)))")
    assert re.search(r"gpu\.h100 +completed +\S+ s", shown)
    assert re.search(r"cheapest: gpu\.\w+", shown)


def test_a_cell_that_fails_everywhere_finds_nothing(run_cell):
    assert "RunFailed: The selection" in run_cell("%%lk_select --timeout 30 --yes\nraise SystemExit(3)")
