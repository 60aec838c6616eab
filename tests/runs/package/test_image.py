"""A cell in an image: its command, which a machine without containers executes as the image would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package import image
from lk_jupyter.runs.package.prepare import prepare

IMAGE = "docker.io/library/python:3.12"


def prepare_bundle(session, code, namespace=None, folder=None, **options):
    place = {"folder": folder} if folder else {}
    source = Source(code, "cell.py", 2, is_cell=True, namespace=namespace or {}, **place)
    return prepare(session, source, RunOptions(image=IMAGE, machine="cpu", **options))


@pytest.fixture
def python(tmp_path):
    """A folder of commands with Python and the shell, as the only folder in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    (folder / "sh").symlink_to("/bin/sh")
    return folder


def execute(bundle, folder):
    """Execute the command of an image run with this PATH, in an empty working folder."""
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    command = bundle.request.docker_run_cmd
    environment = {"PATH": str(folder), "LK_TOKEN_OF_TEAM": "stored-secret", "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
    return subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True, check=False)


def test_a_cell_runs_with_its_values_files_and_arguments_in_the_image(session, tmp_path, python):
    (tmp_path / "helper.py").write_text("def double(x): return 2 * x\n")
    (tmp_path / "data.txt").write_text("content\n")
    code = "import sys, helper\nprint(helper.double(rate), names['a'], sys.argv[1:], open('data.txt').read())\nrate + 1"
    values = {"rate": 21, "names": {"a": [1, 2]}}
    options = {"inputs": ["rate,names"], "files": ["data.txt"], "arg": ["--fast"]}
    bundle = prepare_bundle(session, code, values, tmp_path, **options)
    assert bundle.request.docker_image_ref == IMAGE
    result = execute(bundle, python)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "42 [1, 2] ['--fast'] content"
    assert bundle.nonce in result.stdout  # the last expression, as a rich output
    assert max(map(len, bundle.request.docker_run_cmd)) <= image.ARGUMENT_BYTES
    assert any(code in argument for argument in bundle.request.docker_run_cmd)


def test_the_record_of_a_cell_in_an_image_has_no_key_and_no_link(session):
    bundle = prepare_bundle(session, "print(rate)", {"rate": 3}, inputs=["rate"])
    text = str(bundle.request.model_dump())
    assert "_lk_key" not in text
    assert "X-Amz" not in text
    assert bundle.request.import_files is None


def test_an_image_without_python_or_with_an_old_one_is_reported_in_one_line(session, python):
    bundle = prepare_bundle(session, "print(1)")
    (python / "python3").unlink()
    result = execute(bundle, python)
    assert result.returncode == 127
    assert result.stderr == (
        "This image has no Python. The code didn't start. Choose an image with Python 3.8 or later, or run a script: "
        "%%lk_docker\n"
    )
    old = f"import sys; sys.version_info = (3, 6, 1); sys.version = '3.6.1 (old)'\n{image._BOOT}"
    result = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, check=False)
    assert result.stderr.startswith("This image has Python 3.6.1. The code didn't start.")


@pytest.mark.parametrize(
    ("code", "options", "words"),
    [
        ("y = rate * 2", {}, "reads 'rate' of this notebook, .* Nothing was sent. Send it: --in rate"),
        ("y = np.zeros(3)", {}, "reads 'np' of this notebook, .* Nothing was sent. Import it in the cell"),
        ("x = 1", {"outputs": ["x"]}, "--out doesn't work with --image. Nothing was sent. An image run returns no"),
        ("x = 1", {"sync": True}, "--sync doesn't work with --image"),
        ("x = 1", {"stage": ["lk://a:/a"]}, "--stage doesn't work with --image. .*is mounted in the image at /mnt/s3"),
        ("x = 1", {"on": "vm"}, "--on doesn't work with --image"),
        ("def lk_checkpoint(folder): pass", {}, "Checkpoints don't work with --image"),
        ("import lk_jupyter\nprint(lk_jupyter.checkpoint_folder())", {}, "Checkpoints don't work with --image"),
        ("from lk_jupyter import Checkpoint", {}, "Checkpoints don't work with --image"),
        ("print(big)", {"inputs": ["big"]}, r"big \(bytes, .* is too large for the command of an image run"),
        (f"x = '{'a' * 160_000}'", {}, "in the command of the run, above the maximum of .*%lk_put"),
    ],
)
def test_what_an_image_cannot_do_is_refused_before_anything_is_sent(session, code, options, words):
    namespace = {"rate": 1, "np": os, "big": bytes(300_000)}
    with pytest.raises(UsageError, match=words) as error:
        prepare_bundle(session, code, namespace, **options)
    assert "Nothing was sent" in str(error.value)


def test_a_name_that_is_no_image_is_refused(session):
    with pytest.raises(UsageError, match=r"--image: '-x' isn't an image\. Nothing was sent"):
        prepare(session, Source("print(1)"), RunOptions(image="-x", machine="cpu"))


@pytest.mark.nightly
def test_packages_are_installed_on_top_of_the_image(session, python):
    bundle = prepare_bundle(session, "import packaging; print(packaging.__version__)", requirements=["packaging==24.0"])
    assert bundle.request.requirements_content is None
    for path in Path(sys.prefix, "bin").iterdir():
        if path.name == "uv":
            (python / "uv").symlink_to(path)
    result = execute(bundle, python)
    assert "Installing packaging." in result.stderr
    assert result.stdout.endswith("24.0\n"), result.stderr
