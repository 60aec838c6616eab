from pathlib import Path

import near
import pytest

ROOM = ("conftest.py", "test_follow.py", "log/test_folded.py", "log/test_log.py")


@pytest.fixture
def tree(tmp_path):
    for name in ("test_config.py", *(f"runs/{name}" for name in ROOM)):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("lk_jupyter/config.py", ["test_config.py"]),
        ("lk_jupyter/runs/follow.py", ["runs/test_follow.py"]),
        ("lk_jupyter/runs/log/_folded.py", ["runs/log/test_folded.py"]),
        ("lk_jupyter/runs/log/lines.py", ["runs/log/test_log.py"]),
        ("lk_jupyter/runs/outcome.py", ["runs"]),
        ("tests/runs/log/test_log.py", ["runs/log/test_log.py"]),
        ("tests/runs/conftest.py", ["runs"]),
        ("tests/books.py", []),
        ("labextension/src/index.ts", ["test_labextension.py"]),
        ("README.md", []),
    ],
)
def test_a_changed_file_brings_the_tests_that_mirror_it(tree, path, tests):
    assert near.mirrored(Path(path), tree) == [tree / "tests" / test for test in tests]
