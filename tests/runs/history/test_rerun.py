import io
import json
import tarfile
from hashlib import sha256

import pytest

import lk_jupyter
from lk_jupyter.code.source import Source
from lk_jupyter.errors import RunFailed, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.runs.history.export import render_script
from lk_jupyter.runs.history.history import find_run
from lk_jupyter.runs.history.rerun import rebuild_run, stored_request
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run

KEY = "lk_" + "3fA9" * 8


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as session:
        yield session


@pytest.fixture
def ran(session, tmp_path):
    """A function that runs code to its end, and gives the run."""

    def ran(code, **options):
        source = Source(code, "cell.py", 2, tmp_path)
        run = Run.submit(session, prepare(session, source, RunOptions(**options)))
        run.wait()
        return run

    return ran


def repeated(session, run, machine=None):
    return rebuild_run(session, *find_run(session, run.execution_id), machine)


def sent(request):
    """Return a request without the name that tells it from every other."""
    plain = request.model_dump(exclude_none=True)
    return {**plain, "metadata": {k: v for k, v in plain["metadata"].items() if k != REQUEST_KEY}}


def test_the_same_request_is_sent_but_for_its_own_name(session, ran, tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 42\n")
    wishes = {"arg": ["--lr", "0.1"], "label": ["a"], "metadata": {"team": "vision"}, "timeout": 77, "gpu": "H100"}
    run = ran("import helper, sys\nprint(helper.VALUE, sys.argv[1:])", **wishes)
    (tmp_path / "helper.py").write_text("VALUE = 0\n")
    package = repeated(session, run)
    assert sent(package.request) == sent(run.bundle.request)
    assert package.token != run.bundle.token
    assert package.files == run.bundle.files
    again_run = Run.submit(session, package)
    assert again_run.result().stdout == run.result().stdout == "42 ['--lr', '0.1']\n"
    assert again_run.execution_id != run.execution_id


def test_another_machine_may_be_named(session, ran):
    package = repeated(session, ran("print(1)", gpu="A100"), "H100")
    assert package.request.execution_type == package.machine.hardware_profile == "gpu.h100"


def test_what_it_may_cost_binds_on_another_machine_too(session, ran):
    run = ran("print(1)", gpu="L40S", max_cost="0.01", timeout=600)
    assert repeated(session, run).timeout == run.bundle.timeout
    dearer = repeated(session, run, "H100")
    assert dearer.timeout < run.bundle.timeout
    assert dearer.cost_binds


@pytest.mark.parametrize("options", [{}, {"arg": ["x"]}])
def test_a_failure_is_told_in_the_lines_of_the_cell_again(session, ran, options):
    run = ran("x = 1\n1/0", **options)
    with pytest.raises(RunFailed) as failure:
        Run.submit(session, repeated(session, run)).result()
    assert "line 3" in failure.value.traceback


def test_a_script_with_arguments_keeps_its_line_numbers(session):
    run = session.run("x = 1\n1/0", arg=["x"])
    run.wait()
    package = repeated(session, run)
    assert package.line_shift == run.bundle.line_shift == -1


def test_the_frames_of_another_run_do_not_speak_for_this_one(session, ran):
    run = ran("print(1)", metadata={"lk_frames": "a1b2c3d4"})
    journal().update(
        run.execution_id,
        request={
            **journal().get(run.execution_id).request,
            "import_files": json.dumps({"_lk_settings.json": "a1b2c3d4"}),
        },
    )
    package = repeated(session, run)
    nonce = package.request.metadata["lk_frames"]
    assert nonce != "a1b2c3d4"
    assert json.loads(package.request.import_files) == {"_lk_settings.json": nonce}
    assert package.files == {}


def test_a_lane_is_sent_again_as_a_run_of_its_own(session, ran):
    run = ran("print(1)", metadata={"lk_group": "g", "lk_lane": "2", "lr": "0.1"})
    assert set(repeated(session, run).request.metadata) == {"lr", REQUEST_KEY}


def test_a_run_with_a_secret_is_not_sent_without_it(session, ran):
    run = ran(f"key = '{KEY}'", allow_secrets=True)
    with pytest.raises(UsageError, match="possible secret, which the journal doesn't store"):
        repeated(session, run)


def test_a_run_that_read_from_signed_addresses_says_why_it_is_not_sent(session, ran):
    address = "https://s3.test/b/k.npy?X-Amz-Algorithm=A&X-Amz-Credential=c&X-Amz-Signature=ab12"
    run = ran(f"source = '{address}'", allow_secrets=True)
    with pytest.raises(UsageError, match="links that have expired"):
        repeated(session, run)


def test_a_run_from_elsewhere_says_what_is_missing(session):
    execution_id = session.client.execution.start_streaming({"code": "print(1)"}).execution_id
    with pytest.raises(UsageError, match="journal doesn't have the request"):
        rebuild_run(session, *find_run(session, execution_id))


def test_what_a_run_reads_from_the_bucket_is_linked_anew_and_a_script_cannot(session, ran):
    saved = tar_of("n.txt", b"41")
    said = {"sha256": sha256(saved).hexdigest()}
    first = ran(f"def lk_checkpoint(folder): ...\nfrom _lk.script import run\nrun.frame('checkpoint', {said})")
    session.storage.put(io.BytesIO(saved), f".lk/c/{first.bundle.token}.tar")
    going_on = "import pathlib\nprint(int(pathlib.Path(lk_resume, 'n.txt').read_text()) + 1)"
    second = ran(going_on, resume=first.execution_id)
    assert second.result().stdout == "42\n"
    kept = json.dumps(journal().get(second.execution_id).request)
    assert "X-Amz" not in kept
    assert Run.submit(session, repeated(session, second)).result().stdout == "42\n"
    with pytest.raises(UsageError, match="links that expire"):
        render_script(stored_request(second.execution_id, journal().get(second.execution_id)), session.base_url)


def tar_of(name, content):
    """Return the bytes of a tar file with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()
