import pytest

from lk_jupyter import remote_path
from lk_jupyter.errors import UsageError


@pytest.mark.parametrize("path", ["data/x.parquet", "lk://data/x.parquet", "/data/x.parquet"])
def test_a_run_finds_objects_below_its_mount(path, monkeypatch):
    monkeypatch.delenv("LK_STORAGE", raising=False)
    assert remote_path(path) == remote_path(path, kind="image") == "/mnt/s3/data/x.parquet"


def test_inside_a_run_its_own_variable_decides(monkeypatch):
    monkeypatch.setenv("LK_STORAGE", "/somewhere/else/")
    assert remote_path("a b.csv") == "/somewhere/else/a b.csv"


def test_a_kind_of_run_that_there_is_not_is_said():
    with pytest.raises(UsageError, match="python, image, compose"):
        remote_path("x", kind="vm")
