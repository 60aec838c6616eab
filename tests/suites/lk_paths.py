"""The tests of universal_pathlib, on a folder of ``lk://``."""

import fsspec
import pytest
from upath import UPath
from upath.tests.cases import BaseTests
from upath.tests.utils import OverrideMeta, overrides_base

FILES = {"file1.txt": b"hello world", "file2.txt": b"hello world", "folder1/file1.txt": b"", "folder1/file2.txt": b""}


class TestPaths(BaseTests, metaclass=OverrideMeta):
    SUPPORTS_EMPTY_DIRS = False

    @pytest.fixture(autouse=True)
    def path(self):
        lk = fsspec.filesystem("lk")
        if lk.exists("paths"):
            lk.rm("paths", recursive=True)
        lk.pipe({f"paths/{name}": content for name, content in FILES.items()})
        self.path = UPath("lk://paths")

    @overrides_base
    def test_is_correct_class(self):
        assert isinstance(self.path, UPath)
