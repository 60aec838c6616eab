"""Runs that were started earlier, found again through the journal."""

import time

import pytest
from localcloud.conftest import until

from lk_jupyter.api.user import UserStatus
from lk_jupyter.code.source import Source
from lk_jupyter.errors import OutcomeUnknown
from lk_jupyter.journal.journal import REFUSED, journal
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs import reattach
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.reattach import find_previous_run, refresh
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit import submission
from lk_jupyter.runs.submit.start import start_once
from lk_jupyter.runs.submit.submission import Submission, build_entry
from lk_jupyter.session import connect


@pytest.fixture
def session(signed_in):
    with connect() as session:
        yield session


def prepared(session, code="print(1)", **options):
    return prepare(session, Source(code), RunOptions(**options))


@pytest.fixture
def cut_off(session):
    """A run that was started by a kernel which crashed before the answer came."""
    package = prepared(session, "import time; time.sleep(50)")
    journal().add(build_entry(session, package))
    answer = start_once(session.client, package)
    yield answer.execution_id
    session.client.workloads.abort(answer.execution_id)


def test_a_start_whose_answer_a_crash_cut_off_is_found_by_its_token(session, cut_off):
    (entry,) = journal().entries(going_on=True)
    assert entry.execution_id is None
    assert [found.execution_id for found in refresh(session, [entry])] == [cut_off]
    assert journal().get(cut_off).token == entry.token


def test_the_cell_of_such_a_start_attaches_to_it(session, cut_off):
    assert find_previous_run(session, prepared(session, "import time; time.sleep(50)")).execution_id == cut_off


def test_a_start_that_never_arrived_is_given_up_after_a_while(session, monkeypatch):
    journal().add(build_entry(session, prepared(session)))
    assert list(refresh(session, journal().entries())) == []
    assert journal().entries(going_on=True)
    monkeypatch.setattr(reattach, "_LONG_LOST", -1)
    assert list(refresh(session, journal().entries())) == []
    assert [entry.state for entry in journal().entries()] == [REFUSED]


def test_a_cell_whose_earlier_start_may_be_somebody_elses_starts_nothing(cloud, session, cut_off, monkeypatch):
    before = cloud.client.billing.history().total
    monkeypatch.setattr(type(session.client.user), "status", lambda _: UserStatus())
    with pytest.raises(OutcomeUnknown, match=rf"This run may be yours: {cut_off}[\s\S]*--attach never"):
        session.run("import time; time.sleep(50)", attach="auto")
    assert cloud.client.billing.history().total == before
    monkeypatch.setattr(reattach, "_LONG_LOST", -1)
    assert list(refresh(session, journal().entries())) == []
    assert journal().entries(going_on=True)  # it may be billed, so it isn't given up


def test_runs_of_another_server_are_not_asked_for(session):
    entry = build_entry(session, prepared(session))
    entry.base_url, entry.execution_id = "https://elsewhere.example", "5d2c0f6e"
    assert list(refresh(session, [entry])) == []


def test_a_run_that_this_server_does_not_know_is_passed_over(session):
    package = prepared(session)
    entry = build_entry(session, package)
    entry.execution_id, entry.state = "00000000-0000-0000-0000-000000000000", "running"
    journal().add(entry)
    assert list(refresh(session, [entry])) == []
    assert find_previous_run(session, package) is None


@pytest.mark.parametrize("other", [{"code": "print(2)"}, {"gpu": "H100"}, {"arg": ["x"]}])
def test_another_code_machine_or_argument_is_another_run(session, other):
    run = Run.submit(session, prepared(session))
    assert find_previous_run(session, prepared(session)).execution_id == run.execution_id
    assert find_previous_run(session, prepared(session, **other)) is None


def test_other_packages_or_files_make_another_run(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("size = 1\n")
    asked = {"code": "import model", "requirements": ["tqdm"]}
    run = Run.submit(session, prepared(session, **asked))
    assert find_previous_run(session, prepared(session, **asked)).execution_id == run.execution_id
    assert find_previous_run(session, prepared(session, code="import model", requirements=["tqdm>4"])) is None
    (tmp_path / "more.txt").write_text("more")
    assert find_previous_run(session, prepared(session, **asked, files=["more.txt"])) is None
    (tmp_path / "model.py").write_text("size = 2\n")
    assert find_previous_run(session, prepared(session, **asked)) is None


def test_a_run_whose_files_hold_secrets_is_known_by_the_rest(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.txt").write_text(f"token = 'hf_{'aB3' * 12}'\n")
    asked = {"files": ["key.txt"], "allow_secrets": True}
    run = Run.submit(session, prepared(session, **asked))
    assert find_previous_run(session, prepared(session, **asked)).execution_id == run.execution_id


def test_a_run_whose_end_was_seen_is_not_attached_to(session):
    run = session.run("print(1)", attach="auto")
    assert session.run("print(1)", attach="auto").execution_id == run.execution_id
    run.result()
    assert session.run("print(1)", attach="auto").execution_id != run.execution_id


def test_a_clock_that_jumped_back_hides_no_run(session, monkeypatch):
    run = session.run("print(1)")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    later = session.run("print(1)")
    assert find_previous_run(session, prepared(session)).execution_id == later.execution_id != run.execution_id


def test_an_unexpected_error_before_the_start_is_sent_leaves_no_active_entry(session, monkeypatch):
    def fail(*_):
        raise RuntimeError("can't register atexit after shutdown")

    monkeypatch.setattr(submission, "upload_inputs", fail)
    sending = Submission(session, prepared(session))
    with pytest.raises(RuntimeError):
        Run.from_submission(session, sending)
    assert [(entry.state, entry.reason) for entry in journal().entries()] == [
        (REFUSED, "can't register atexit after shutdown")
    ]
    assert sending.outcome() == "Nothing was started."


def test_an_unexpected_error_after_the_start_is_sent_is_reported_and_its_run_is_aborted(cloud, session, monkeypatch):
    ids = []

    def fail_after(*arguments):
        ids.append(start_once(*arguments).execution_id)
        sending.abort_soon()
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(submission, "start_once", fail_after)
    sending = Submission(session, prepared(session, "import time; time.sleep(50)"))
    with pytest.raises(OutcomeUnknown, match=r"lost: RuntimeError: cannot schedule new futures[\s\S]*%lk_runs"):
        Run.from_submission(session, sending)
    until(lambda: cloud.client.execution.status(ids[0]).status == "aborted")
