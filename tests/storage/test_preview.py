"""What is shown of an object before it is loaded."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lk_jupyter.errors import NoSuchObject
from lk_jupyter.storage._preview_readers import IMAGE, ROWS, TEXT
from lk_jupyter.storage.preview import preview


@pytest.fixture
def show(storage):
    def put(content, name):
        storage.put(content, f"pv/{name}")
        return preview(storage, f"lk://pv/{name}")

    return put


def _written(write, *arguments, **options):
    file = io.BytesIO()
    write(file, *arguments, **options)
    return file.getvalue()


def test_a_csv_shows_its_first_rows_and_what_its_columns_hold(show):
    seen = show(b'name,n,x,day,yes\n"a, b",1,0.5,2026-01-31,true\n\xc3\xbc,2,,2026-02-01,false\n', "t.csv")
    assert seen.columns == [("name", "text"), ("n", "int"), ("x", "float"), ("day", "date"), ("yes", "bool")]
    assert seen.rows == [["a, b", "1", "0.5", "2026-01-31", "true"], ["ü", "2", "", "2026-02-01", "false"]]
    assert "2 rows, 5 columns" in seen.words
    assert not seen.is_part


@pytest.mark.parametrize(("separator", "name"), [(";", "s.csv"), ("\t", "t.tsv"), ("|", "p.csv")])
def test_the_separator_of_a_table_is_seen(show, separator, name):
    assert show(f"a{separator}b\n1{separator}2\n".encode(), name).rows == [["1", "2"]]


def test_of_a_large_csv_only_the_begin_travels(network, watched):
    watched.put(b"a,b\n" + b"1,some words\n" * 2_000_000, "pv/large.csv")
    network.down = 0
    seen = preview(watched, "pv/large.csv")
    assert network.down < 4 * TEXT
    assert len(seen.rows) == ROWS
    assert seen.is_part
    assert "rows," not in seen.words


def test_a_packed_table_is_unpacked_as_far_as_it_is_shown(show):
    assert show(gzip.compress(b"a,b\n1,2\n"), "t.csv.gz").rows == [["1", "2"]]


def test_of_a_large_parquet_only_its_schema_and_first_pages_travel(network, watched, tmp_path):
    frame = pd.DataFrame(np.random.default_rng(0).random((1_000_000, 4)), columns=list("abcd"))
    frame["when"] = pd.Timestamp("2026-01-31")
    pages = {"use_dictionary": False, "data_page_size": 1 << 17}  # of one size with each pyarrow
    frame.to_parquet(tmp_path / "large.parquet", row_group_size=1_000_000, **pages)
    watched.put(tmp_path / "large.parquet", "pv/large.parquet")
    network.down = 0
    seen = preview(watched, "pv/large.parquet")
    assert network.down < (tmp_path / "large.parquet").stat().st_size / 10
    assert "1,000,000 rows, 5 columns" in seen.words
    assert seen.columns[0] == ("a", "double")
    assert [row[0] for row in seen.rows] == [str(value) for value in frame["a"][:ROWS]]
    assert seen.rows[0][4].startswith("2026-01-31")


def test_a_table_without_rows_shows_its_columns(show):
    empty = _written(lambda file: pd.DataFrame({"a": [1]}).head(0).to_parquet(file))
    assert show(empty, "empty.parquet").columns == [("a", "int64")]
    assert show(b"a,b\n", "empty.csv").columns == [("a", "text"), ("b", "text")]


def test_a_feather_shows_its_rows(show):
    frame = pd.DataFrame({"a": [1, None, 3], "b": ["x", "y", "z"]})
    assert show(_written(frame.to_feather), "t.feather").rows[1] == ["", "y"]


def test_json_is_set_out_and_text_is_cut(show):
    assert show(b'{"a":[1,2]}', "d.json").text == '{\n  "a": [\n    1,\n    2\n  ]\n}'
    seen = show("é".encode() * TEXT, "long.txt")
    assert seen.is_part
    assert set(seen.text) == {"é"}
    assert show(b"x = 1\n", "no suffix").text == "x = 1\n"


def test_a_notebook_shows_its_cells_and_not_its_outputs(show):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"text": "hidden"}]},
    ]
    seen = show(json.dumps({"cells": cells}).encode(), "n.ipynb")
    assert seen.text == "# %% [markdown]\n# Title\ntext\n\n# %% [code]\n1 + 1\n"
    assert "2 cells" in seen.words


def test_an_image_is_given_as_it_is_and_one_that_is_none_is_not(show):
    png = _written(Image.new("RGB", (2, 3)).save, format="PNG")
    seen = show(png, "i.png")
    assert (seen.image, seen.mime) == (png, "image/png")
    for content in (b"<script>alert(1)</script>", _written(Image.new("RGB", (2, 3)).save, format="TIFF")):
        seen = show(content, "none.png")
        assert (seen.image, seen.mime) == (b"", "")
        assert "Not an image that browsers can show" in seen.words


def test_an_image_that_is_too_large_is_not_fetched(network, watched):
    watched.put(b"\x89PNG\r\n\x1a\n" + bytes(IMAGE), "pv/large.png")
    network.down = 0
    assert "up to 10.0 MB" in preview(watched, "pv/large.png").words
    assert network.down < IMAGE / 10


def test_an_array_and_an_archive_tell_what_is_in_them(show):
    assert "Array of float64, 3 by 2" in show(_written(np.save, np.zeros((3, 2))), "a.npy").words
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("one.txt", "1")
        file.writestr("two/three.txt", "2")
    assert show(archive.getvalue(), "a.zip").text == "one.txt\ntwo/three.txt"


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "zero.parquet", "Empty file"),
        (b"PAR1 no", "broken.parquet", "Can't read this as parquet"),
        (b"no", "broken.ipynb", "Can't read this as ipynb"),
        (b"no", "broken.csv.gz", "Can't read this as csv"),
        (bytes(range(256)), "model.pt", "No preview of files of the kind .pt"),
        (b"PK", "book.xlsx", "%lk_load"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(show, content, name, words):
    seen = show(content, name)
    assert words in seen.words
    assert not any((seen.columns, seen.text, seen.image))


def test_a_key_without_an_object_is_an_error(storage):
    with pytest.raises(NoSuchObject, match="pv/none"):
        preview(storage, "pv/none")
