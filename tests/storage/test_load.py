"""Objects as values, by their suffix."""

import bz2
import gzip
import io
import json
import lzma
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lk_jupyter.errors import InsufficientMemory, NoSuchObject, StorageError
from lk_jupyter.magics.loading import lk_load
from lk_jupyter.storage import load as load_module
from lk_jupyter.storage.load import code_for, load

TABLE = pd.DataFrame({"a": range(50), "b": [n / 2 for n in range(50)], "c": [f"ü{n}" for n in range(50)]})


def written(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


CSV = TABLE.to_csv(index=False).encode()
#: Name → what makes the file, as a test needs it: Excel's take long to import.
TABLES = {
    "t.csv": lambda: CSV,
    "t.tsv": lambda: TABLE.to_csv(index=False, sep="\t").encode(),
    "t.json": lambda: TABLE.to_json(orient="records").encode(),
    "t.jsonl": lambda: TABLE.to_json(orient="records", lines=True).encode(),
    "t.parquet": lambda: written(TABLE.to_parquet),
    "t.feather": lambda: written(TABLE.to_feather),
    "t.xlsx": lambda: written(lambda file: TABLE.to_excel(file, index=False)),
    "T.CSV": lambda: CSV,
    "t.csv.gz": lambda: gzip.compress(CSV),
    "t.csv.bz2": lambda: bz2.compress(CSV),
    "t.v2.csv.xz": lambda: lzma.compress(CSV),
}


#: What the help says of the dtypes of a file that has none.
INFERRED = set(re.search(r"infers\s+the\s+dtypes\s+\(([^)]+)\)", lk_load.doc)[1].split(", "))


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_a_file_with_dtypes_keeps_them(storage, name):
    table = TABLE.astype({"a": "int16", "b": "float32"}).assign(
        d=True, e=pd.Timestamp("2026-11-01", tz="UTC").as_unit("ms")
    )
    storage.put(written(table.to_parquet if name == "t.parquet" else table.to_feather), f"ld/typed-{name}")
    assert dict(load(storage, f"ld/typed-{name}").dtypes) == dict(table.dtypes)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_comes_back_whole_in_part_and_by_column(storage, name):
    storage.put(TABLES[name](), f"ld/{name}")
    found = load(storage, f"ld/{name}")
    pd.testing.assert_frame_equal(found, TABLE, check_dtype=False)
    words = dict(found.dtypes.astype(str).replace("object", "str"))
    assert words == {"a": "int64", "b": "float64", "c": "str"}
    assert set(words.values()) <= INFERRED
    some = load(storage, f"lk://ld/{name}", columns=["c", "a"], sample=7)
    assert sorted(some) == ["a", "c"]
    assert list(some["c"]) == [f"ü{n}" for n in range(7)]


def test_arrays_images_and_text(storage):
    array = np.arange(60, dtype="int16").reshape(20, 3)
    storage.put(written(lambda file: np.save(file, array)), "ld/a.npy")
    storage.put(written(lambda file: np.savez(file, x=array, y=array * 2)), "ld/a.npz")
    storage.put(written(lambda file: Image.new("RGB", (4, 3)).save(file, "png")), "ld/i.png")
    storage.put(b"one\ntwo\nthree\n", "ld/t.txt")
    assert (load(storage, "ld/a.npy") == array).all()
    assert load(storage, "ld/a.npy").dtype == array.dtype
    assert load(storage, "ld/a.npy", sample=5).tolist() == array[:5].tolist()
    assert {name: part.dtype for name, part in load(storage, "ld/a.npz", columns=["y"]).items()} == {"y": array.dtype}
    assert load(storage, "ld/i.png").size == (4, 3)
    assert load(storage, "ld/t.txt") == "one\ntwo\nthree\n"
    assert load(storage, "ld/t.txt", sample=2) == "one\ntwo\n"


def test_json_that_is_no_table_is_what_it_is(storage):
    storage.put(json.dumps({"name": "x", "deep": 1}).encode(), "ld/d.json")
    assert load(storage, "ld/d.json") == {"name": "x", "deep": 1}


def test_a_zip_is_loaded_when_it_holds_one_file(storage):
    def pack(*names):
        def write(file):
            with zipfile.ZipFile(file, "w") as archive:
                for name in names:
                    archive.writestr(name, CSV)

        return written(write)

    storage.put(pack("t.csv"), "ld/one.csv.zip")
    storage.put(pack("t.csv", "u.csv"), "ld/two.csv.zip")
    assert len(load(storage, "ld/one.csv.zip")) == 50
    with pytest.raises(StorageError, match="this one has 2"):
        load(storage, "ld/two.csv.zip")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("b.parquet", b"PAR1 no more", "Can't read .* as parquet"),
        ("cut.parquet", TABLES["t.parquet"]()[:-20], "Can't read .* as parquet"),
        ("b.csv.gz", b"no gzip", "Can't read .* as csv"),
        ("b.npy", b"no array", "Can't read .* as npy"),
        ("b.png", b"no image", "Can't read .* as an image"),
        ("b.txt", b"\xff\xfe\xfa", "Can't read .* as text"),
        ("empty.csv", b"", "is empty"),
        ("empty.parquet", b"", "is empty"),
        ("what.bin", b"x", "its suffix is unknown"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(storage, name, content, said):
    storage.put(content, f"ld/{name}")
    with pytest.raises(StorageError, match=said) as error:
        load(storage, f"ld/{name}")
    assert "\n" not in str(error.value)


def test_an_array_of_objects_runs_no_code(storage):
    storage.put(written(lambda file: np.save(file, np.array([{}], dtype=object), allow_pickle=True)), "ld/o.npy")
    with pytest.raises(StorageError, match="Can't read"):
        load(storage, "ld/o.npy")


def test_a_column_that_is_not_there_is_said(storage):
    for name in ("t.csv", "t.parquet", "t.jsonl"):
        storage.put(TABLES[name](), f"ld/{name}")
        with pytest.raises(StorageError, match="nope"):
            load(storage, f"ld/{name}", columns=["nope"])
    with pytest.raises(StorageError, match="no columns"):
        load(storage, "ld/t.txt", columns=["a"])


def test_what_is_not_there_is_said_by_name(storage):
    with pytest.raises(NoSuchObject, match=r"gone\.csv"):
        load(storage, "ld/gone.csv")


def test_what_does_not_fit_the_memory_is_not_loaded_and_a_sample_is(network, watched, monkeypatch):
    watched.put(CSV * 20_000, "ld/long.csv")
    monkeypatch.setattr(load_module, "free_memory", lambda: 10_000_000)
    network.down = 0
    with pytest.raises(InsufficientMemory, match="--sample"):
        load(watched, "ld/long.csv")
    assert len(load(watched, "ld/long.csv", sample=10)) == 10
    assert network.down < 2_000_000


def test_the_wanted_columns_of_parquet_decide_whether_it_fits(storage, monkeypatch):
    wide = pd.DataFrame({f"c{n}": np.random.default_rng(n).random(10_000) for n in range(20)})
    storage.put(written(wide.to_parquet), "ld/wide.parquet")
    monkeypatch.setattr(load_module, "free_memory", lambda: 1_000_000)
    with pytest.raises(InsufficientMemory, match="--columns"):
        load(storage, "ld/wide.parquet")
    assert list(load(storage, "ld/wide.parquet", columns=["c3"])) == ["c3"]


def test_the_code_that_does_the_same_is_told():
    assert code_for("x.parquet", load_module.LoadRequest(["a"])) == "pd.read_parquet(\"lk://x.parquet\", columns=['a'])"
    some = code_for("x.tsv", load_module.LoadRequest(sample=5))
    assert some == r'pd.read_csv("lk://x.tsv", sep="\t", nrows=5)'
    assert code_for("x.npy", load_module.LoadRequest()) == ""


@pytest.mark.parametrize("key", ["x.pkl", "model.joblib", "a/b.pt", "x.pickle.gz"])
def test_a_pickle_in_the_bucket_is_refused_before_it_is_read(key):
    with pytest.raises(StorageError, match=r"is a pickle file. Reading it executes .* Nothing was read. .*%lk_get"):
        load(None, key)
