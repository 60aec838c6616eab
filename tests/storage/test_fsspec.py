"""``lk://`` for pandas, pyarrow, Polars and DuckDB."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import urllib.request

import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from fsspec.compression import compr
from patience import PATIENCE
from pyarrow.dataset import dataset
from storage.folder_contents import OBEYED

from lk_jupyter.errors import NoSuchObject
from lk_jupyter.storage.fsspec import StorageFileSystem

ROWS = 100_000


@pytest.fixture(scope="module")
def wide():
    numbers = np.random.default_rng(0)
    return pd.DataFrame({f"c{n}": numbers.random(ROWS) for n in range(20)})


@pytest.fixture
def lk(signed_in):
    """The file system of the signed-in user, as others find it by its name."""
    return fsspec.filesystem("lk")


def test_pandas_writes_and_reads_parquet_and_csv(lk, wide):
    wide.to_parquet("lk://fs/wide.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("lk://fs/wide.parquet"), wide)
    few = wide.head(100)
    for name in ("few.csv", "few.csv.gz", 'ünï & 100% "few".csv'):
        few.to_csv(f"lk://fs/{name}", index=False)
        pd.testing.assert_frame_equal(pd.read_csv(f"lk://fs/{name}"), few)


def test_two_columns_are_read_by_range_and_the_rest_stays_there(network, watched, wide):
    fs = StorageFileSystem(watched)
    wide.to_parquet("fs/ranges.parquet", filesystem=fs, row_group_size=ROWS // 4)
    size = fs.size("fs/ranges.parquet")
    network.down = 0
    found = pd.read_parquet("fs/ranges.parquet", filesystem=fs, columns=["c3", "c17"])
    assert list(found) == ["c3", "c17"]
    assert size / 10 < network.down < size / 8


def test_one_row_group_is_read_by_range(network, watched, wide):
    fs = StorageFileSystem(watched)
    wide.to_parquet("fs/groups.parquet", filesystem=fs, row_group_size=ROWS // 20)
    network.down = 0
    with fs.open("fs/groups.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(7).num_rows == ROWS // 20
    assert network.down < fs.size("fs/groups.parquet") / 8  # the oldest pyarrow reads some ahead


def test_the_first_rows_of_a_long_csv_do_not_bring_all_of_it(network, watched):
    fs = StorageFileSystem(watched)
    with watched.open("fs/long.csv", "w") as file:
        file.write("a,b\n")
        file.writelines("1234567,7654321\n" * 10_000 for _ in range(100))
    network.down = 0
    with fs.open("fs/long.csv") as file:
        assert len(pd.read_csv(file, nrows=5)) == 5
    assert network.down < 2_000_000


def test_partitioned_tables_are_folders(lk, wide):
    few = wide.head(100).assign(kind=["a", "b"] * 50)
    few.to_parquet("lk://fs/parts", partition_cols=["kind"])
    assert len(pd.read_parquet("lk://fs/parts", filters=[("kind", "==", "a")])) == 50


def test_duckdb_and_polars_read_it(lk, wide):
    wide.to_parquet("lk://fs/others.parquet")
    import duckdb  # noqa: PLC0415 (each process that collects the tests would import it)

    with duckdb.connect() as connection:
        connection.register_filesystem(lk)
        (total,) = connection.sql("select sum(c1) from 'lk://fs/others*.parquet'").fetchall()[0]
    assert total == pytest.approx(wide["c1"].sum())
    with lk.open("fs/others.parquet") as file:
        assert pl.read_parquet(file, columns=["c1"])["c1"].sum() == pytest.approx(total)
    assert pl.read_parquet("lk://fs/others.parquet", use_pyarrow=True, columns=["c2"]).shape == (ROWS, 1)


def test_polars_scans_it_by_column(lk, wide):
    wide.to_parquet("lk://fs/scanned.parquet")
    table = dataset("fs/scanned.parquet", filesystem=lk)
    found = pl.scan_pyarrow_dataset(table).filter(pl.col("c1") > 0.5).select("c2").collect()
    assert found["c2"].sum() == pytest.approx(wide["c2"][wide["c1"] > 0.5].sum())


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask has not yet followed pandas
@pytest.mark.filterwarnings("ignore:Dask annotations")  # its oldest version warns of its own
def test_dask_writes_and_reads_it_in_parts(lk, wide):
    import dask.dataframe  # noqa: PLC0415 (it takes a second)

    frame = dask.dataframe.from_pandas(wide, npartitions=4)
    frame.to_parquet("lk://fs/dask")
    assert dask.dataframe.read_parquet("lk://fs/dask", columns=["c1"])["c1"].sum().compute() == pytest.approx(
        wide["c1"].sum()
    )
    frame[["c1"]].head(1000, npartitions=-1).to_csv("lk://fs/dask.csv", index=False)
    assert len(dask.dataframe.read_csv("lk://fs/dask*.csv", blocksize=5000)) == 1000


def test_a_file_system_is_walked_copied_and_cleared(lk, tmp_path):
    lk.pipe({"fs/tree/a": b"1", "fs/tree/b/c": b"22"})
    assert lk.ls("lk://fs/tree", detail=False) == ["fs/tree/a", "fs/tree/b"]
    assert lk.find("fs/tree") == ["fs/tree/a", "fs/tree/b/c"]
    assert lk.glob("lk://fs/tree/**/c") == ["fs/tree/b/c"]
    assert (lk.isdir("fs/tree/b"), lk.isfile("fs/tree/b/c"), lk.exists("fs/tree/x")) == (True, True, False)
    lk.get("fs/tree", str(tmp_path / "back"), recursive=True)
    assert (tmp_path / "back" / "b" / "c").read_bytes() == b"22"
    lk.put(str(tmp_path / "back"), "fs/again", recursive=True)
    assert lk.cat_ranges(["fs/tree/b/c", "fs/tree/a"], [1, 0], [2, 1]) == [b"2", b"1"]
    lk.pipe_file("fs/range", b"0123456789")
    parts = [lk.cat_file("fs/range", *of) for of in ((2, 5), (-3, None), (None, -8), (5, 2), (8, 99))]
    assert parts == [b"234", b"789", b"01", b"", b"89"]
    lk.mv("fs/tree/a", "fs/moved")
    assert lk.cat("fs/moved") == b"1"
    lk.rm("fs/tree", recursive=True)
    assert not lk.exists("fs/tree")


@pytest.mark.parametrize("source", ["fs/obeyed/", "fs/obeyed", "fs/obeyed/**"])
def test_several_files_come_without_those_that_programs_obey_unasked(lk, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    lk.pipe({f"fs/obeyed/{name}": b"theirs" for name in (*OBEYED, "data/train.csv", "README")})
    with pytest.warns(UserWarning, match=r"Skipped: 'fs/obeyed/\S+' .*Check it, then download it by its name"):
        lk.get(source, ".", recursive=not source.endswith("*"))
    paths = [
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and ".local" not in path.parts
    ]
    assert {path.removeprefix("obeyed/") for path in paths} == {"data/train.csv", "README"}
    lk.get("fs/obeyed/.bashrc", ".bashrc")
    assert (tmp_path / ".bashrc").read_bytes() == b"theirs"


def test_what_is_not_there_is_the_error_that_others_expect(lk):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv") as error:
        pd.read_csv("lk://fs/nothing.csv")
    assert isinstance(error.value, NoSuchObject)
    assert len(error.value._render_traceback_()) == 2


def test_a_file_system_travels_to_other_processes_and_takes_no_secret_along(lk, signed_in):
    lk.pipe("fs/pickled", b"x")
    assert signed_in.api_key.encode() not in pickle.dumps(lk)
    assert pickle.loads(pickle.dumps(lk)).cat("fs/pickled") == b"x"


@pytest.mark.parametrize("mode", ["wb", "wt"])
@pytest.mark.parametrize("compression", sorted(filter(None, compr)))
def test_what_is_written_through_a_compressor_is_stored(lk, compression, mode):
    content = "häl\n" * 1000 if "t" in mode else b"data" * 1000
    with lk.open(f"fs/packed.{compression}", mode, compression=compression) as file:
        file.write(content)
    with lk.open(f"fs/packed.{compression}", mode.replace("w", "r"), compression=compression) as file:
        assert file.read() == content


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("mode", ["wb", "wt"])
@pytest.mark.parametrize("opener", [lambda lk: lk.open, lambda _: fsspec.open], ids=["file system", "fsspec"])
def test_a_block_that_fails_leaves_the_object_as_it_was(lk, opener, mode, compression):
    def write(fails):
        with opener(lk)("lk://fs/half", mode, compression=compression) as file:
            file.write("new" if "t" in mode else b"new")
            1 / (not fails)

    lk.pipe("fs/half", b"old")
    with pytest.raises(ZeroDivisionError):
        write(fails=True)
    assert lk.cat("fs/half") == b"old"
    write(fails=False)
    with lk.open("fs/half", compression=compression) as file:
        assert file.read() == b"new"


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("mode", ["wb", "wt"])
def test_a_file_that_is_dropped_open_is_stored_with_a_warning(lk, mode, compression):
    def drop():
        lk.open("fs/dropped", mode, compression=compression).write("abc" if "t" in mode else b"abc")
        gc.collect()

    with pytest.warns(ResourceWarning, match="'fs/dropped' wasn't closed"):
        drop()
    for thread in threading.enumerate():
        if thread.name == "lk-write":
            thread.join()
    with lk.open("fs/dropped", compression=compression) as file:
        assert file.read() == b"abc"
    lk.rm("fs/dropped")


def test_a_file_that_is_open_when_python_ends_is_stored(lk):
    code = """import fsspec
file = fsspec.filesystem("lk").open("fs/last.gz", "wt", compression="gzip")
file.write("last words")"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    with lk.open("fs/last.gz", "rt", compression="gzip") as file:
        assert file.read() == "last words"


def test_a_transaction_stores_all_of_its_files_at_its_end_or_none(lk, small_parts):
    def write(name):
        with lk.transaction:
            with lk.open(f"fs/{name}/small", "wb") as file:
                file.write(b"1")
            with lk.open(f"fs/{name}/large", "wb") as file:
                file.write(bytes(11_000_000))
            lk.pipe(f"fs/{name}/piped", b"2")
            assert not lk.exists(f"fs/{name}")
            if name == "failed":
                raise ZeroDivisionError

    write("done")
    assert [row["size"] for row in lk.ls("fs/done")] == [11_000_000, 1, 1]
    with pytest.raises(ZeroDivisionError):
        write("failed")
    assert not lk.exists("fs/failed")


@pytest.mark.filterwarnings("ignore:Exception ignored .* <_io.FileIO")  # the block cache leaves its file open
@pytest.mark.parametrize("cache", ["blockcache", "filecache", "simplecache"])
def test_the_caches_of_fsspec_read_and_write_it(lk, cache, tmp_path):
    lk.pipe("fs/cached", bytes(9_000_000) + b"end")
    how = {cache: {"cache_storage": str(tmp_path / "cache")}}
    with fsspec.open(f"{cache}::lk://fs/cached", **how) as file:
        assert (file.seek(9_000_000), file.read()) == (9_000_000, b"end")
    with fsspec.open(f"{cache}::lk://fs/through", "wb", **how) as file:
        file.write(b"x")
    assert lk.cat("fs/through") == b"x"


def in_forked_child(act):
    """Return what ``act`` gives in a child that is forked from this process, as PyTorch's data loaders fork theirs."""
    forking = multiprocessing.get_context("fork")
    reader, writer = forking.Pipe(duplex=False)
    child = forking.Process(target=lambda: writer.send(act()), daemon=True)
    child.start()
    try:
        assert reader.poll(60), "the child gave no answer"
        return reader.recv()
    finally:
        child.kill()
        child.join()
        reader.close()
        writer.close()


@pytest.mark.nightly
@pytest.mark.skipif(not hasattr(os, "fork"), reason="This system has no fork.")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # about forks of a process with threads
def test_a_forked_child_reads_and_writes_while_its_parent_does(lk, small_parts):
    content = os.urandom(6_000_000)
    lk.pipe({"fs/fork/a b+%ä": content, "fs/fork/old": b"old"})
    over = threading.Event()

    def use():
        while not over.is_set():
            assert lk.cat("fs/fork/old") == b"old"
            lk.ls("fs/fork")

    def act():
        lk.pipe({"fs/fork/new": b"new", "fs/fork/large": content})
        lk.cp("fs/fork/new", "fs/fork/copied")
        lk.rm("fs/fork/new")
        with lk.open("fs/fork/a b+%ä") as file:
            file.seek(5_900_000)
            found = file.read(10)
        read = urllib.request.urlopen(lk.sign("fs/fork/a b+%ä"), timeout=PATIENCE).read()
        return found, read == content == lk.cat("fs/fork/large"), sorted(lk.find("fs/fork")), lk.exists("fs/fork/none")

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        answers = [in_forked_child(act) for _ in range(3)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    names = [f"fs/fork/{name}" for name in ("a b+%ä", "copied", "large", "old")]
    assert answers == [(content[5_900_000:5_900_010], True, names, False)] * 3


def test_appending_keeps_what_was_there(lk):
    for letter in "abc":
        with lk.open("fs/appended", "a") as file:
            file.write(letter)
    assert lk.cat("fs/appended") == b"abc"
    lk.rm("fs/appended")


def test_making_a_folder_refuses_what_is_there(lk):
    lk.pipe("fs/there/x", b"")
    for make in (lk.mkdir, lk.makedirs):
        with pytest.raises(FileExistsError):
            make("fs/there")
    lk.makedirs("fs/there", exist_ok=True)
    lk.mkdir("fs/elsewhere")


def test_removing_names_what_it_does_not_remove(lk):
    lk.pipe({"fs/gone/[1]*.x": b"1", "fs/gone/1.x": b"2"})
    with pytest.raises(IsADirectoryError, match="Nothing was deleted"):
        lk.rm("fs/gone")
    with pytest.raises(OSError, match="not empty"):
        lk.rmdir("fs/gone")
    lk.rm("fs/gone/[1]*.x")
    assert lk.ls("fs/gone", detail=False) == ["fs/gone/1.x"]
    lk.rm("fs/gone", recursive=True)
    with pytest.raises(FileNotFoundError):
        lk.rm("fs/gone/1.x")
