"""Every field and status of each captured answer is changed, while the client runs on the cloud that answers so.

Each change is handled or reported in a line. No traceback is shown, no run or VM is left active silently, nothing is
paid twice, and no run that failed or is active counts as completed.
"""

from __future__ import annotations

import logging
import random
import re
import signal
from collections import Counter, defaultdict
from contextlib import contextmanager

import pytest
from magics.conftest import run_cell as run_cell  # noqa: PLC0414 (a fixture)
from magics.conftest import shell as shell  # noqa: PLC0414
from magics.test_stand_in import PUBLIC
from mutated_answers import ANSWERS, OF_RUNS, RECORDED_RUN, SCENES, CapturedCloud, is_readable, mutations, plain, reader
from stand_in import KEY

from lk_jupyter import session
from lk_jupyter.api import _creation, _lifecycle, _polling, _retry
from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.inference import deploy
from lk_jupyter.journal import journal
from lk_jupyter.magics import select
from lk_jupyter.runs import abort, follow, run
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.vms import vms

pytestmark = pytest.mark.filterwarnings("default::UserWarning")

#: Seconds that a cell may take; the patience of the client is cut below.
LIMIT = 60

#: Cases by day.
SAMPLE = 12

REPORT = re.compile(r"^[A-Z]\w+: |The bill is |can't be read|is unknown|may be incomplete|isn't|doesn't", re.MULTILINE)
FOREIGN = re.compile(
    r"Traceback \(most recent|Exception in thread|Error in callback|validation error|pydantic|input_value|NoneType|"
    r"httpx|object has no attribute|\x1b\[2J",
)
MAY_BE = re.compile(
    r"may be active|may still be active|may be billed|may exist|still active|is unknown to the cloud|costs credits"
)


#: Scenes of one run, with each truth.
CENTRAL = {"run", "active run"}

#: Scene, truth and operation → the requests of each cell on a cloud whose answers are as captured.
REQUESTS = {}


class Hang(BaseException):
    """A cell took longer than a user's patience."""


@pytest.fixture
def impatient(monkeypatch):
    """Cut the pauses and the patience of the client."""
    for module, name, seconds in (
        (_creation, "LOOK_PAUSE", 0), (_lifecycle, "CONFIRM_SECONDS", 0.2), (vms, "PATIENCE", 0.2),
        (select, "_PAUSE", 0.02), (deploy, "PACE", 0),
        (follow, "NEW_SECONDS", 0.1), (follow, "UNREADABLE", 0.2), (follow, "LAGGING", 0.4), (follow, "_GLANCE", 0.3),
        (follow, "PAUSES", (0.0, 0.02)), (abort, "PAUSES", (0.0, 0.05)), (abort, "LET_GO", 0.5),
        (abort, "PATIENCE", 0.3), (abort, "_LOOK", 0.02), (abort, "_REPEAT", 0.1),
        (vms, "PAUSES", (0.0, 0.02)), (run, "POLL_SECONDS", 0.05),
        (_polling, "PATIENCE", 0.3), (_polling, "PATIENCE_UNKNOWN", 0.2), (_retry, "pause", lambda _: 0.0),
        (Wire.__init__, "__defaults__", ((0.0, 0.02),)),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


@contextmanager
def time_limit(seconds):
    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Table:
    """Runs cases and counts what became of them."""

    def __init__(self, home, shell, run_cell, monkeypatch, caplog):
        self.home, self.shell, self.run_cell = home, shell, run_cell
        self.monkeypatch, self.caplog = monkeypatch, caplog
        self.counts = defaultdict(Counter)
        self.defects = []
        self.number = 0

    @contextmanager
    def cloud(self, truth, mutation):
        cloud = CapturedCloud(truth, mutation)
        self.number += 1
        self.monkeypatch.setenv("LK_BASE_URL", cloud.url)
        self.monkeypatch.setenv("LK_API_KEY", KEY)
        self.monkeypatch.setenv("LK_JOURNAL", str(self.home / f"journal-{self.number}.sqlite"))
        self.shell.user_ns["read"] = lambda operation: reader(session.current().client, operation)
        try:
            yield cloud
        finally:
            session.close_all()
            journal.close_all()
            cloud.close()

    def play(self, cloud, cells, operation):
        """Run cells, and return what they show and which requests each sent."""
        shown, requests = [], {}
        for cell in cells:
            before = Counter(cloud.calls)
            text = cell.replace("{operation}", operation)
            for name, ids in (("run", cloud.cloud_runs), ("deployment", cloud.deployed_ids)):
                text = text.replace(f"{{{name}}}", next(iter(list(ids)), RECORDED_RUN))
            try:
                with time_limit(LIMIT):
                    shown.append(self.run_cell(text))
            except Hang:
                shown.append("Hang")
            requests[cell] = set(cloud.calls - before)
        return "\n".join(shown), requests

    def cells_with(self, scene, truth, operation):
        """Return the cells of a scene that a case needs; none if none of its cells sends this request."""
        cells = [*scene.always[:1], *scene.cells, *scene.always[1:]]
        key = (scene, truth, operation if scene.name == "client" else "")
        if key not in REQUESTS:
            with self.cloud(truth, None) as cloud:
                shown, REQUESTS[key] = self.play(cloud, cells, operation)
            assert truth == "failed" or not (FOREIGN.search(shown) or REPORT.search(shown)), shown
        chosen = [cell for cell in cells if cell in scene.always or operation in REQUESTS[key][cell]]
        return chosen if any(operation in REQUESTS[key][cell] for cell in chosen) else []

    def judge(self, scene, cells, truth, mutation):
        """Run one case; return its outcome and what is wrong with it."""
        self.caplog.clear()
        with self.cloud(truth, mutation) as cloud:
            shown, _ = self.play(cloud, cells, mutation.operation)
            wrong = list(defects(cloud, scene, truth, shown))
        warned = [record for record in self.caplog.records if record.name.startswith("lk_jupyter")]
        outcome = "defect" if wrong else "reported" if warned or REPORT.search(shown) else "handled"
        self.counts[mutation.operation][outcome] += 1
        if wrong:
            self.defects.append(f"{mutation} [{scene.name}, {truth}]: {'; '.join(wrong)}\n{shown[-3000:]}")
        return outcome

    def __str__(self):
        width = max(map(len, self.counts), default=0)
        return "\n".join(
            f"{name:{width}}  handled {row['handled']:5}  reported {row['reported']:5}  defects {row['defect']:4}"
            for name, row in sorted(self.counts.items())
        )


def defects(cloud, scene, truth, shown):
    """Yield what is wrong after a case."""
    if re.search(r"\bHang\b", shown):
        yield f"a cell takes more than {LIMIT} s"
    elif found := FOREIGN.search(shown):
        yield f"shows {found[0]!r}"
    if lines := [line for line in shown.splitlines() if REPORT.match(line) and len(line) > 1100]:
        yield f"reports in a line of {len(lines[0])} characters: {lines[0][:80]}"
    ids = [run_id[:8] for run_id in (RECORDED_RUN, *cloud.cloud_runs)]  # an earlier case may still print
    completed = [line for line in shown.splitlines() if "✓ completed" in line and any(each in line for each in ids)]
    if truth != "completed" and (completed or "wait returned completed" in shown):
        yield f"a run that is {truth} counts as completed"
    yield from (
        f"{operation} was paid {count} times" for operation, count in list(cloud.paid.items()) if count > scene.starts
    )
    runs = [run.run_id for run in list(cloud.cloud_runs.values()) if run.state == "running"]
    if runs and not MAY_BE.search(shown):
        yield f"{runs} left active silently"
    rented = [each for each, state in (cloud.rented | cloud.deployed_ids).items() if state in {"ready", "created"}]
    if rented and not REPORT.search(shown):
        yield f"{rented} left active silently"


@pytest.fixture
def table(home, shell, run_cell, monkeypatch, caplog, impatient):  # noqa: PLR0913, PLR0917 (fixtures)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519.pub").write_text(PUBLIC + "\n")
    monkeypatch.chdir(home)
    (home / "a.txt").write_text("a")
    caplog.set_level(logging.WARNING, "lk_jupyter")
    return Table(home, shell, run_cell, monkeypatch, caplog)


def cases(table, operation, scenes):
    """Yield scene, cells, truth and mutation for each case of an operation.

    Each mutation is tried in one scene, in turn. Those of operations about runs are tried in each of ``CENTRAL`` too.
    """
    stages = [
        (scene, cells, truth)
        for scene in scenes
        if scene.name != "client" or is_readable(operation)
        for truth in scene.truths
        if (cells := table.cells_with(scene, truth, operation))
    ]
    central = [stage for stage in stages if stage[0].name in CENTRAL and operation in OF_RUNS]
    others = [stage for stage in stages if stage not in central]
    for number, mutation in enumerate(mutations(operation, ANSWERS[operation])):
        turn = others[number % len(others) :][:1] if others else []
        yield from ((*stage, mutation) for stage in [*central, *turn])


#: Operations with a captured answer.
OPERATIONS = sorted({plain(str(each)) for each in ENDPOINTS} & set(ANSWERS))


def test_a_sample_of_changed_answers_is_handled_or_reported(table):
    daily = [scene for scene in SCENES if scene.name in CENTRAL]
    chosen = [case for operation in OF_RUNS for case in cases(table, operation, daily)]
    for case in random.Random(36).sample(chosen, SAMPLE):
        table.judge(*case)
    assert not table.defects, "\n\n".join(table.defects)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_changed_answer_is_handled_or_reported(table, operation, capsys):
    for case in list(cases(table, operation, SCENES)):
        table.judge(*case)
    with capsys.disabled():
        print(f"\n{table}")
    assert not table.defects, "\n\n".join(table.defects)
