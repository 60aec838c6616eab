"""``%lk_stage``, ``--stage`` of a run, and the usage of the bucket."""

import os
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from lk_jupyter.protocol.bucket import STAGES, checkpoint_key
from lk_jupyter.session import current


@pytest.fixture
def bucket(signed_in):
    return current().storage


def test_a_folder_is_staged_once_and_other_content_stays_without_overwrite(run_cell, bucket, tmp_path):
    bucket.put(b"1,2\n", "ms/data/a.csv")
    output = run_cell(f"%lk_stage lk://ms/data {tmp_path} --checksum")
    assert re.search(r"✓ staged · \S+ · 1 file, 4 B · in \d.* s · 1 of 1 checksums match", output), output
    assert "1 already there" in run_cell(f"%lk_stage ms/data {tmp_path}")
    (tmp_path / "a.csv").write_text("mine")
    assert "already exists with other content. Nothing was downloaded" in run_cell(f"%lk_stage ms/data {tmp_path}")
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert "✓ staged" in run_cell(f"%lk_stage ms/data {tmp_path} --overwrite")
    assert (tmp_path / "a.csv").read_text() == "1,2\n"
    assert "No files in 'ms/none/'" in run_cell(f"%lk_stage ms/none {tmp_path}")


def test_a_run_reads_staged_files_from_its_disk(run_cell, shell, bucket, tmp_path):
    content = os.urandom(1 << 20) * 9
    bucket.put(content, "ms/run/large.bin")
    bucket.put(b"1,2\n", "ms/run/deep/a.csv")
    target = tmp_path / "staged"
    code = (
        f"from pathlib import Path\nfolder = Path({str(target)!r})\n"
        "print(sorted((p.relative_to(folder).as_posix(), p.stat().st_size) for p in folder.rglob('*') if p.is_file()))"
    )
    output = run_cell(f"%%lk_run --machine cpu --fresh --save run --stage lk://ms/run:{target}\n{code}")
    assert "Staged 2 files, 9.4 MB" in output
    assert f"[('deep/a.csv', 4), ('large.bin', {len(content)})]" in output
    run = shell.user_ns["run"]
    assert "This run reads from your bucket" in run_cell(f"%lk_export {run.short_id}")
    [staged] = run.messages.read_from_log("staged")
    assert 0 < staged.payload["seconds"] <= run.timing().transfer
    assert abs(sum(run.timing().costs.values()) - run.cost) < Decimal("0.001")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("ms/run", "--stage takes KEY:FOLDER with an absolute folder, got 'ms/run'. Nothing was sent."),
        ("lk://ms/run", "--stage takes KEY:FOLDER with an absolute folder, got 'lk://ms/run'. Nothing was sent."),
        ("ms/run:data", "--stage takes KEY:FOLDER with an absolute folder, got 'ms/run:data'. Nothing was sent."),
        ("ms/run:/a/../b", "--stage takes KEY:FOLDER"),
        (":/data", "--stage takes KEY:FOLDER"),
        ("ms/run:/mnt/s3/data", "--stage: '/mnt/s3/data' may be the bucket. Nothing was sent."),
        ("ms/none:/data", "--stage: no files in 'lk://ms/none'. Nothing was sent."),
    ],
)
def test_a_pair_that_cannot_be_staged_is_refused_before_anything_is_sent(run_cell, bucket, pair, words):
    assert words in run_cell(f"%%lk_run --machine cpu --fresh --stage {pair}\nprint(1)")


def test_a_session_refuses_to_stage(run_cell, bucket):
    output = run_cell("%%lk_run --machine cpu --session one --stage ms/run:/data\nprint(1)")
    assert "--stage doesn't work with --session. Nothing was sent." in output


def test_usage_shows_size_and_cost_of_each_folder_and_prunes_old_checkpoints(run_cell, bucket, monkeypatch):
    bucket.put(bytes(2_000_000), "ms-usage/a/x")
    bucket.put(bytes(1000), "ms-usage/y")
    bucket.put(bytes(5000), checkpoint_key("old"))
    output = run_cell("%lk_bucket usage ms-usage")
    assert re.search(r"ms-usage/a/\s+1\s+2\.0 MB", output), output
    assert re.search(r"Total\s+2\s+2\.0 MB", output)
    assert "The API publishes no price for stored files" in output
    monkeypatch.setenv("LK_STORAGE_PRICE", "50")
    assert re.search(r"ms-usage/a/.*0\.10", run_cell("%lk_bucket usage ms-usage"))
    output = run_cell("%lk_bucket usage")
    assert ".lk/c/ (checkpoints of runs)" in output
    assert "%lk_bucket usage --prune 7" in output
    assert "older than 7 days. Nothing was deleted" in run_cell("%lk_bucket usage --prune 7 --yes")
    later = datetime.now(timezone.utc) + timedelta(days=8)
    monkeypatch.setattr(type(bucket), "now", lambda _: later)
    assert re.search(r"Deleted \d+ checkpoints? \(", run_cell("%lk_bucket usage --prune 7 --yes"))  # of other tests too
    assert not bucket.exists(checkpoint_key("old"))


def test_lists_of_staged_files_are_deleted_after_some_days():
    from lk_jupyter.protocol.bucket import KEPT  # noqa: PLC0415 (this test only)

    assert KEPT[STAGES] <= timedelta(days=7)
