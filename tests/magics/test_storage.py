"""The bucket from a notebook."""

import pandas as pd
import pytest

from lk_jupyter.magics._engine.completion import complete
from lk_jupyter.session import current
from lk_jupyter.storage import load as load_module

TABLE = pd.DataFrame({"a": range(5), "b": list("vwxyz")})


@pytest.fixture
def bucket(signed_in):
    return current().storage


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def answer(monkeypatch):
    """Answer the questions that are asked; keep them."""
    asked = []

    def with_(text):
        monkeypatch.setattr("builtins.input", lambda question: (asked.append(question), text)[1])
        return asked

    return with_


def test_a_file_is_put_listed_and_fetched_with_the_path_that_a_run_sees(run_cell, bucket, here):
    (here / "a 'b' ü%.csv").write_text("x" * 1000)
    shown = run_cell("%lk_put \"a 'b' ü%.csv\" mg/data/")
    assert shown.startswith("✓ stored · lk://mg/data/a 'b' ü%.csv · 1 file, 1.0 kB")
    assert "in a run: /mnt/s3/mg/data/a 'b' ü%.csv" in shown
    assert "1.0 kB" in run_cell("%lk_ls mg/data/")
    assert "/mnt/s3/mg/data/a 'b' ü%.csv" in run_cell("%lk_ls lk://mg -r")
    assert "a 'b' ü%.csv  1.0 kB" in run_cell("%lk_ls mg --tree")
    shown = run_cell("%lk_get \"mg/data/a 'b' ü%.csv\" back.csv")
    assert shown.startswith("✓ fetched · back.csv")
    assert (here / "back.csv").read_text() == "x" * 1000


def test_an_object_with_other_content_is_replaced_only_when_asked(run_cell, bucket, here):
    (here / "t.csv").write_text("one")
    (here / "u.csv").write_text("one")
    run_cell('%lk_put "*.csv" mg/taken')
    again = run_cell("%lk_put t.csv mg/taken/")
    assert again.startswith("✓ stored")
    assert "1 already there" in again
    (here / "t.csv").write_text("two, and longer")
    for line in ("t.csv mg/taken/", '"*.csv" mg/taken/', ". mg/taken"):
        refused = run_cell(f"%lk_put {line}")
        assert "'lk://mg/taken/t.csv' already exists with other content. Nothing was sent." in refused
        assert "--overwrite" in refused
    assert bucket.get_bytes("mg/taken/t.csv") == b"one"
    assert run_cell("%lk_put t.csv mg/taken/ --overwrite").startswith("✓ stored")
    assert bucket.get_bytes("mg/taken/t.csv") == b"two, and longer"


def test_folders_and_patterns(run_cell, bucket, here):
    for name in ("one.csv", "two.csv", "three.txt"):
        (here / name).write_text(name)
    run_cell('%lk_put "*.csv" mg/many')
    assert [found.key for found in bucket.ls("mg/many")] == ["mg/many/one.csv", "mg/many/two.csv"]
    (here / "below").mkdir()
    (here / "below" / "four.csv").write_text("four.csv")
    run_cell('%lk_put "**/*.csv" mg/deep')
    assert [found.key for found in bucket.ls("mg/deep")] == [f"mg/deep/{name}.csv" for name in ("four", "one", "two")]
    (here / "below" / "four.csv").unlink()
    (here / "below").rmdir()
    assert "3 files" in run_cell("%lk_put . mg/all")
    shown = run_cell('%lk_ls "mg/all/*.csv"')
    assert "one.csv" in shown
    assert "three" not in shown
    assert "✓ fetched · all/ · 3 files" in run_cell("%lk_get mg/all/")
    assert (here / "all" / "three.txt").read_text() == "three.txt"
    assert "3 already there" in run_cell("%lk_get mg/all/")


def test_sync_goes_both_ways_and_removes_when_told(run_cell, bucket, here):
    (here / "data").mkdir()
    (here / "data" / "a").write_text("a")
    assert "✓ in sync · lk://mg/sync · 1 file" in run_cell("%lk_sync data lk://mg/sync")
    bucket.put(b"b", "mg/sync/b")
    assert "1 removed" in run_cell("%lk_sync data lk://mg/sync --delete")
    assert "in sync" in run_cell("%lk_sync lk://mg/sync elsewhere")
    assert "Give one folder on this machine and one in the bucket" in run_cell("%lk_sync data elsewhere")


@pytest.mark.parametrize("line", ["%lk_get lk://mg/hid/ .", "%lk_sync lk://mg/hid .", "%lk_stage lk://mg/hid ."])
def test_hidden_files_come_only_after_a_list_and_a_yes(run_cell, bucket, here, answer, line):
    bucket.put(b"x", "mg/hid/.bashrc")
    bucket.put(b"x", "mg/hid/a.csv")
    asked = answer("n")
    shown = run_cell(f"{line} --include-hidden")
    assert "execute 1 listed file" in " ".join(asked[0].split())
    assert ".bashrc" in shown
    assert list(here.rglob(".bashrc")) == []
    assert [path.name for path in here.rglob("a.csv")] == ["a.csv"]
    answer("y")
    run_cell(f"{line} --include-hidden")
    assert len(list(here.rglob(".bashrc"))) == 1
    assert len(asked) == 2


def test_removing_asks_first(run_cell, bucket, here, answer):
    for name in "abc":
        bucket.put(name.encode(), f"mg/rm/{name}")
    asked = answer("n")
    assert "Nothing was deleted" in run_cell("%lk_rm mg/rm/")
    assert asked == ["Delete 3 files, such as mg/rm/a (3 B) permanently? [y/N] "]
    answer("y")
    assert "Deleted 2 files" in run_cell("%lk_rm mg/rm/a mg/rm/b")
    assert "Deleted 1 file" in run_cell('%lk_rm "mg/rm/*" --yes')
    assert "No file of the bucket matches 'mg/rm/'" in run_cell("%lk_rm mg/rm/ --yes")
    assert "it doesn't delete the entire bucket" in run_cell("%lk_rm lk:// --yes")


def test_a_table_is_loaded_into_a_variable_with_the_code_that_does_the_same(run_cell, bucket, shell):
    TABLE.to_parquet("lk://mg/t.parquet")
    shown = run_cell("%lk_load mg/t.parquet --as df --columns b a")
    assert shown.startswith("✓ df · DataFrame, 5 rows, 2 columns")
    assert "df = pd.read_parquet(\"lk://mg/t.parquet\", columns=['b', 'a'])" in shown
    assert list(shell.user_ns["df"]["b"]) == list("vwxyz")
    run_cell("some = %lk_load mg/t.parquet --sample 2")
    assert len(shell.user_ns["some"]) == 2
    assert "takes a variable name" in run_cell("%lk_load mg/t.parquet --as 1x")


def test_what_does_not_fit_is_offered_as_a_sample(run_cell, bucket, shell, answer, monkeypatch):
    bucket.put(b"a,b\n" + b"1,2\n" * 1000, "mg/long.csv")
    monkeypatch.setattr(load_module, "free_memory", lambda: 1000)
    asked = answer("n")
    assert "InsufficientMemory: 'mg/long.csv' has 4.0 kB" in run_cell("%lk_load mg/long.csv --as df")
    assert "df" not in shell.user_ns
    answer("y")
    assert "the first 100,000 at most" in run_cell("%lk_load mg/long.csv --as df")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%lk_get mg/none.csv", "NoSuchObject: No file 'mg/none.csv' in the bucket."),
        ("%lk_get mg/none/", "No files in 'mg/none/'."),
        ("%lk_put none.csv", "UsageError: No file or folder 'none.csv' in"),
        ("%lk_load mg/none.csv", "NoSuchObject: No file 'mg/none.csv'"),
        ("%lk_ls mg/none/", "No files in mg/none/."),
    ],
)
def test_what_is_not_there_is_said_in_one_line(run_cell, bucket, here, line, said):
    shown = run_cell(line)
    assert said in shown
    assert "Traceback" not in shown


def test_keys_and_files_are_completed(bucket, here):
    bucket.put(b"", "mg-complete/deep/x.csv")
    (here / "folder").mkdir()
    (here / "file.csv").write_text("")
    assert complete("lk_ls", "mg-comp") == ("mg-comp", ["mg-complete/"])
    assert complete("lk_get", "lk://mg-complete/d") == ("lk://mg-complete/d", ["lk://mg-complete/deep/"])
    assert complete("lk_put", "f") == ("f", ["file.csv", "folder/"])
    assert complete("lk_put", "file.csv mg-complete/deep/") == ("mg-complete/deep/", ["mg-complete/deep/x.csv"])
    assert complete("lk_sync", "l") == ("l", ["lk://"])
    assert complete("lk_load", "x --a") == ("--a", ["--as"])


def test_progress_is_one_output_that_ends_as_a_line(kernel):
    kernel.run("from pathlib import Path\nPath('big.bin').write_bytes(bytes(30_000_000))")
    cell = kernel.run("%lk_put big.bin mg/big.bin")
    assert len(cell.shown) == 1
    assert cell.shown[0].startswith("✓ stored · lk://mg/big.bin · 1 file, 30.0 MB")
    first = next(content["data"] for kind, content in cell.messages if kind == "display_data")
    assert "big.bin | " in first["text/plain"]
    assert "<progress" in first["text/html"]
