"""The tests that fsspec and pyarrow install for file systems, run on ``lk://`` as they are."""

import fsspec
import pytest
from fsspec.tests import abstract
from pyarrow.fs import FSSpecHandler, PyFileSystem
from pyarrow.tests import test_fs as arrow
from pyarrow.tests.conftest import builtin_pickle, cloudpickle, pickle_module  # noqa: F401 (fixtures)

#: Why a test of pyarrow fails: it makes a folder and looks for it. A bucket has none but those of its keys.
NO_EMPTY_FOLDERS = pytest.mark.xfail(reason="An empty folder doesn't exist in a bucket.", strict=True)


@pytest.fixture
def lk(signed_in):
    """The file system of the signed-in user, with a folder that is removed after the test."""
    found = fsspec.filesystem("lk")
    yield found
    if found.exists("suite"):
        found.rm("suite", recursive=True)


class LkFixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, lk):
        return lk

    @pytest.fixture
    def fs_path(self):
        return "suite"

    @pytest.fixture
    def supports_empty_directories(self):
        return False


@pytest.mark.nightly
class TestCopy(abstract.AbstractCopyTests, LkFixtures):
    test_copy_glob_edge_cases = pytest.mark.nightly(abstract.AbstractCopyTests.test_copy_glob_edge_cases)


def _suite(name):
    """Return a suite that the oldest fsspec lacks, where there is one."""
    return [getattr(abstract, name)] if hasattr(abstract, name) else []


@pytest.mark.nightly  # by day, copies
class TestGet(abstract.AbstractGetTests, LkFixtures):
    pass


@pytest.mark.nightly  # by day, copies
class TestPut(abstract.AbstractPutTests, LkFixtures):
    pass


class TestOpen(*_suite("AbstractOpenTests"), LkFixtures):
    pass


class TestPipe(*_suite("AbstractPipeTests"), LkFixtures):
    pass


@pytest.fixture
def fs(lk):
    return PyFileSystem(FSSpecHandler(lk))


@pytest.fixture
def pathfn():
    return "suite/".__add__


@pytest.fixture
def allow_move_dir():
    return True


@pytest.fixture
def allow_append_to_file():
    return True


pickle_with_and_without_subtree_filesystem = getattr(arrow, "pickle_with_and_without_subtree_filesystem", None)

test_filesystem_equals_none = arrow.test_filesystem_equals_none
test_filesystem_pickling = arrow.test_filesystem_pickling
test_normalize_path = arrow.test_normalize_path
test_non_path_like_input_raises = arrow.test_non_path_like_input_raises
test_copy_file = arrow.test_copy_file
test_move_file = arrow.test_move_file
test_delete_file = arrow.test_delete_file
test_open_input_stream = arrow.test_open_input_stream
test_open_input_file = arrow.test_open_input_file
test_open_input_stream_not_found = arrow.test_open_input_stream_not_found
test_open_output_stream = arrow.test_open_output_stream
test_open_append_stream = arrow.test_open_append_stream
test_open_output_stream_metadata = arrow.test_open_output_stream_metadata

test_filesystem_is_functional_after_pickling = NO_EMPTY_FOLDERS(arrow.test_filesystem_is_functional_after_pickling)
test_get_file_info = NO_EMPTY_FOLDERS(arrow.test_get_file_info)
test_get_file_info_with_selector = NO_EMPTY_FOLDERS(arrow.test_get_file_info_with_selector)
test_create_dir = NO_EMPTY_FOLDERS(arrow.test_create_dir)
test_delete_dir = NO_EMPTY_FOLDERS(arrow.test_delete_dir)
test_delete_dir_with_explicit_subdir = NO_EMPTY_FOLDERS(arrow.test_delete_dir_with_explicit_subdir)
test_delete_dir_contents = NO_EMPTY_FOLDERS(arrow.test_delete_dir_contents)
test_move_directory = NO_EMPTY_FOLDERS(arrow.test_move_directory)
