"""``lk://`` for pandas, pyarrow, Polars and DuckDB."""

import pickle

import dask.dataframe
import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from pyarrow.dataset import dataset

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
    assert network.down < fs.size("fs/groups.parquet") / 10


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
def test_dask_writes_and_reads_it_in_parts(lk, wide):
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
    lk.mv("fs/tree/a", "fs/moved")
    assert lk.cat("fs/moved") == b"1"
    lk.rm("fs/tree", recursive=True)
    assert not lk.exists("fs/tree")


def test_what_is_not_there_is_the_error_that_others_expect(lk):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv") as error:
        pd.read_csv("lk://fs/nothing.csv")
    assert isinstance(error.value, NoSuchObject)
    assert len(error.value._render_traceback_()) == 1


def test_a_file_system_travels_to_other_processes_and_takes_no_secret_along(lk, signed_in):
    lk.pipe("fs/pickled", b"x")
    assert signed_in.api_key.encode() not in pickle.dumps(lk)
    assert pickle.loads(pickle.dumps(lk)).cat("fs/pickled") == b"x"
