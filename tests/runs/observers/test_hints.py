"""Hints for runs on a cloud: the facts that they read from records and metrics."""

import re
import time

import pytest
from patience import PATIENCE

from lk_jupyter.api._events import Finished
from lk_jupyter.code.source import Source
from lk_jupyter.options.runs import RunOptions, check
from lk_jupyter.runs.observers import hints, rules
from lk_jupyter.runs.observers.hints import RunHints
from lk_jupyter.runs.package import rich
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.session import connect


@pytest.fixture
def session(make_cloud, home, monkeypatch):
    """A session on a cloud that makes GPU figures up: as busy as the run's CPU."""
    cloud = make_cloud("--simulate-gpu")
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    with connect() as session:
        yield session


def test_an_idle_gpu_is_found_in_the_metrics_while_the_run_goes_on_and_at_its_end(session, monkeypatch):
    monkeypatch.setattr(rules, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(hints, "STEP", "1s")
    monkeypatch.setattr(hints, "_LOOK_SECONDS", 0.2)
    run = session.run("import time; time.sleep(60)", gpu="A100")
    looks_after = RunHints(session, run.bundle)
    looks_after.started(run)
    end = time.monotonic() + PATIENCE
    while not looks_after.notices:
        assert looks_after.tick(run, 2.0, "") == []
        assert time.monotonic() < end
        time.sleep(0.1)
    run.abort()
    for remarks in (looks_after.notices, looks_after.ended(run, run.wait())):
        assert "The GPU was below 10 % for" in str(remarks[0])
        assert "1.59 credits/h while it waits" in str(remarks[0])


def test_slow_imports_are_measured_by_the_run_itself(session, monkeypatch, tmp_path):
    monkeypatch.setattr(rich, "IMPORT_SECONDS", 0.1)
    monkeypatch.setattr(rich, "IMPORT_PART", 0.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heavy.py").write_text("import time; time.sleep(0.2)")
    code = "from __future__ import annotations\nimport json\nfrom heavy import time\nprint('on')\nimport os.path"
    run = session.run(code, gpu="A100", rich=True)
    assert isinstance(list(run.follow())[-1], Finished)
    assert run.result().stdout == "on\n"
    looks_after = RunHints(session, run.bundle)
    for frame in run.messages.read_from_log("imports"):
        looks_after.saw(frame)
    (remark,) = looks_after.ended(run, run.wait())
    assert re.search(r"Imports took .*, heavy 0\.[2-9] s of them\.|heavy [1-9]", str(remark))


def test_an_import_that_fails_is_shown_without_a_line_of_ours(session):
    run = session.run("x = 1\nimport no_such_module", machine="cpu", rich=True)
    with pytest.raises(Exception, match="No module named") as failure:
        run.result()
    assert "_lk" not in failure.value.traceback
    assert 'File "script.py", line 2' in failure.value.traceback


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("import json, os\nprint(1)", {"rich": True}),
        ("import torch", {"rich": True, "no_hints": True}),
        ("import torch", {}),
    ],
)
def test_nothing_is_measured_where_nothing_takes_long_or_nobody_wants_it(session, code, options):
    bundle = prepare(session, Source(code), check(RunOptions, {"machine": "cpu", **options}))
    assert "script/imports" not in (bundle.request.import_files or "")
