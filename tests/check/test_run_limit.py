"""``%lk_check --run-limit``: a run with a long time limit shows whether the account allows it, after consent."""

from __future__ import annotations

import re

import pytest
from stand_in import KEY, StandIn

import lk_jupyter
from lk_jupyter.check.__main__ import main
from lk_jupyter.check.levels import Check, LevelRequest
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError, ReadOnlyMode, UsageError
from lk_jupyter.runs.observers.limits import Countdown

HOURS = 3 * 3600


@pytest.fixture
def strange(home, monkeypatch):
    server = StandIn()
    monkeypatch.setenv("LK_BASE_URL", server.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    ended = {"status": "running"}

    def abort(_):
        ended["status"] = "aborted"
        return {"message": "ok"}

    server.on("POST /workloads/abort/{}", abort)
    server.on("GET /execution/streaming/{}/status", lambda _: ended)
    yield server
    server.close()


@pytest.fixture
def connected(strange):
    with lk_jupyter.connect(strange.url, KEY) as session:
        yield session


def check(session, *, answer=True):
    """Check the limit, with this answer to the question; return the report and the questions."""
    questions = []
    request = LevelRequest(run_limit=HOURS, confirm=lambda question: questions.append(question) or answer)
    work = Check(session.client, session, request)
    work.run(lambda _: None)
    return work.report, questions


def long_starts(strange):
    """Return the starts of complete runs."""
    return [body for body in strange.bodies["POST /execution/streaming/start"] if "code" in body]


def test_an_accepted_limit_is_stored_and_its_run_is_aborted_after_a_question_with_the_price(strange, connected):
    report, [question] = check(connected)
    [start] = long_starts(strange)
    assert (start["timeout"], strange.calls["POST /workloads/abort/{}"]) == (HOURS, 1)
    assert question.startswith("Start a run with a time limit of 3 h on A100, and abort it immediately? ")
    assert "at most 4.77 credits" in question
    assert setting("max_timeout") == HOURS
    assert any("report the limit" in note for note in report.notes)


@pytest.mark.parametrize("answer", [False, None])
def test_without_consent_nothing_is_started_and_nothing_is_stored(strange, connected, answer):
    if answer is None:
        Check(connected.client, connected, LevelRequest(run_limit=HOURS)).run(lambda _: None)
    else:
        check(connected, answer=answer)
    assert (long_starts(strange), setting("max_timeout")) == ([], 600)


def test_the_command_starts_the_run_only_with_yes(strange, capsys):
    for options, count in [([], 0), (["--yes"], 1)]:
        main(["--run-limit", "3h", *options])
        assert len(strange.runs) == count, capsys.readouterr()


def test_a_refused_limit_is_stored_as_the_limit_in_the_refusal(strange, connected):
    detail = [{"loc": ["body", "timeout"], "msg": "Input should be less than or equal to 1800"}]

    def start(request):
        long = request.json.get("timeout", 0) > 1800
        return (422, {"detail": detail}) if long else {"execution_id": strange.taken(request)}

    strange.on("POST /execution/streaming/start", start)
    report, _ = check(connected)
    assert any("refused a time limit of 3 h. It allows at most 30 min" in note for note in report.notes)
    assert (strange.runs, setting("max_timeout"), strange.calls["POST /workloads/abort/{}"]) == ({}, 1800, 0)


def test_a_start_that_is_refused_for_another_reason_changes_no_limit(strange, connected):
    strange.on("POST /execution/streaming/start", (402, {"detail": "Insufficient credits."}))
    report, _ = check(connected)
    assert setting("max_timeout") == 600
    assert any("Insufficient credits" in each.found for each in report.deviations)


def test_a_cloud_that_shows_a_shorter_limit_in_the_record_has_that_limit(strange, connected):
    strange.record = {"timeout": 1200}
    report, _ = check(connected)
    assert setting("max_timeout") == 1200
    assert any("shortened the time limit of 3 h to 20 min" in note for note in report.notes)


def test_a_run_that_the_cloud_does_not_end_is_aborted_again_and_reported(strange, connected, monkeypatch):
    monkeypatch.setattr("lk_jupyter.check.spending._PATIENCE", 0.2)
    monkeypatch.setattr("lk_jupyter.runs.abort.LET_GO", 0.2)
    strange.word = "running"
    strange.on("POST /workloads/abort/{}", {"message": "ok"})
    report, _ = check(connected)
    assert strange.calls["POST /workloads/abort/{}"] >= 2
    assert any("may still be active" in note or "%lk_abort" in note for note in report.notes), report.notes


def test_a_start_whose_answer_is_lost_is_searched_and_aborted(strange, connected):
    def start(request):
        strange.taken(request)
        return 502, "<html>gateway</html>"

    strange.on("POST /execution/streaming/start", start)
    strange.on("GET /workloads/list", lambda _: [strange._row(run_id) for run_id in strange.runs])
    check(connected)
    assert len(long_starts(strange)) == 1
    assert strange.calls["POST /workloads/abort/{}"] >= 1


def test_read_only_mode_and_a_check_without_a_key_refuse_the_run(strange, connected, monkeypatch):
    with pytest.raises(UsageError, match="--run-limit needs a key"):
        Check(connected.client, None, LevelRequest(public=True, run_limit=HOURS))
    monkeypatch.setenv("LK_READ_ONLY", "on")
    with pytest.raises(ReadOnlyMode):
        Check(connected.client, connected, LevelRequest(run_limit=HOURS))
    assert not strange.runs


def test_a_later_check_keeps_a_limit_that_a_run_showed_although_the_description_has_a_shorter_one(make_cloud, home):
    cloud = make_cloud("--longest-run", str(HOURS))
    with lk_jupyter.connect(cloud.base_url, cloud.api_key) as session:
        check(session)
        assert session.client.assumptions["longest_run"] == str(HOURS)
        Check(session.client, session, LevelRequest()).run(lambda _: None)
        assert session.client.assumptions["longest_run"] == str(HOURS)
        assert not list(session.client.workloads.list())


def test_a_run_that_a_cloud_ends_before_its_limit_restores_the_documented_limit(make_cloud, home, monkeypatch):
    cloud = make_cloud("--longest-run", "2", "--shorten-runs")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    with lk_jupyter.connect() as session:
        check(session)
        assert setting("max_timeout") == HOURS
        run = session.run("import time\ntime.sleep(60)", timeout=HOURS)
        with pytest.raises(LkError):
            run.result()
        [notice] = Countdown(HOURS).ended(run, run.record)
    assert re.match(r"The cloud ended the run after \d\.\d s, before its time limit of 3 h\.", notice.text)
    assert setting("max_timeout") == 600
