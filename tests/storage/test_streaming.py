"""Readers of other libraries stream ``lk://``, as the guide shows; nothing is stored on the disk."""

import io
import tarfile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lk_jupyter.session import current


@pytest.fixture
def bucket(cloud, home, monkeypatch):
    """The bucket of the user who is signed in, with two tar files and two tables."""
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    storage = current().storage
    for shard in range(2):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for number in range(3):
                for suffix, content in (("txt", b"text"), ("cls", str(number).encode())):
                    info = tarfile.TarInfo(f"{shard}-{number}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        storage.put(packed.getvalue(), f"str/train-{shard:03}.tar")
        table = io.BytesIO()
        pq.write_table(pa.table({"c3": [float(shard), 2.0]}), table)
        storage.put(table.getvalue(), f"str/part-{shard}.parquet")
    return storage


def test_webdataset_streams_tar_files(bucket):
    wds = pytest.importorskip("webdataset")
    from webdataset.gopen import gopen_schemes  # noqa: PLC0415 (wds.gopen is a function)

    gopen_schemes["lk"] = lambda url, mode="rb", bufsize=0: fsspec.open(url, mode).open()
    train = wds.WebDataset("lk://str/train-{000..001}.tar", shardshuffle=False)
    assert [sample["cls"] for sample in train] == [b"0", b"1", b"2"] * 2


def test_hugging_face_datasets_stream_parquet(bucket):
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset("parquet", data_files="lk://str/*.parquet", split="train", streaming=True)
    assert sorted(row["c3"] for row in rows) == [0.0, 1.0, 2.0, 2.0]


def test_a_tar_file_is_read_from_front_to_back(bucket):
    with bucket.open("str/train-001.tar") as file, tarfile.open(fileobj=file, mode="r|") as tar:
        assert [member.name for member in tar][:2] == ["1-0.txt", "1-0.cls"]
