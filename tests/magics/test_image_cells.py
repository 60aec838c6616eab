"""``%%lk_run --image``: a cell in a container image, with Podman on the local cloud."""

from __future__ import annotations

import tarfile

import pytest
from localcloud.conftest import image as image  # noqa: PLC0414 (a fixture)
from localcloud.containers import make_python_image, podman

from lk_jupyter.journal.journal import journal

pytestmark = pytest.mark.xdist_group("containers")


@pytest.fixture(scope="module")
def python_image(tmp_path_factory):
    name = make_python_image(tmp_path_factory.mktemp("image"))
    yield name
    podman("rmi", "--force", name)


def test_an_image_without_python_fails_with_a_line_that_says_so(signed_in, run_cell, image):
    output = run_cell(f"%%lk_run --image {image} --machine cpu\nprint(1)")
    assert "This image has no Python. The code didn't start. Choose an image with Python 3.8 or later" in output
    assert "RunFailed" in output


@pytest.mark.nightly
def test_an_image_without_a_shell_fails_with_a_hint(signed_in, run_cell, tmp_path):
    archive, name = tmp_path / "empty.tar", "localhost/lk-tests-empty:1"
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, "file.txt")
    podman("import", archive, name)
    output = run_cell(f"%%lk_run --image {name} --machine cpu\nprint(1)")
    assert f"The image '{name}' has no shell, so it can't run a cell." in output


@pytest.mark.nightly
def test_a_cell_runs_in_an_image_and_is_sent_again_and_its_start_is_compared(signed_in, run_cell, shell, python_image):
    shell.user_ns["rate"] = 3
    cell = "import sys\nprint('doubled', rate * 2, sys.version_info >= (3, 8))\nresult = rate"
    output = run_cell(f"%%lk_run --image {python_image} --machine cpu --in rate --save run\n{cell}")
    assert "doubled 6 True" in output
    assert "✓ completed" in output
    assert "The run set 'result', but a run in an image returns no variables. Write results to the bucket" in output
    assert "result" not in shell.user_ns
    [entry] = journal().entries(limit=1)
    assert entry.request["docker_image_ref"] == python_image
    assert "doubled 6 True" in run_cell("get_ipython().run_line_magic('lk_rerun', run.short_id)")
    output = run_cell("%%lk_run --image auto --machine cpu --in rate --dry-run\n" + cell)
    assert python_image in output
    assert "start by --image auto" in output
    refusal = run_cell("%%lk_run --image auto --machine cpu --dry-run\nprint('never run')")
    assert "--image auto compares earlier runs of this cell, but this cell has none. Nothing was sent." in refusal


@pytest.mark.nightly
def test_figures_and_errors_of_a_cell_in_an_image_look_as_in_a_run(signed_in, run_cell, python_image):
    output = run_cell(f"%%lk_run --image {python_image} --machine cpu\nvalues = [1, 2]\nvalues[9]")
    assert "IndexError: list index out of range" in output
    assert "values[9]" in output
