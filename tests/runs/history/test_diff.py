import re

import pytest

import lk_jupyter
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics.history import DiffView
from lk_jupyter.runs.history.diff import Side, compare, read_side

KEY = "lk_" + "3fA9" * 8


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as session:
        yield session


def facts(diff):
    return {fact.name: fact.values for fact in diff.differences}


def test_what_was_asked_for_and_what_came_of_it_stand_side_by_side(session):
    first = session.run("lr = 0.1\nprint(lr)", gpu="A100", timeout=60, label=["a"], metadata={"team": "x"})
    second = session.run("lr = 0.2\nprint(lr)\n1/0", gpu="H100", timeout=90, max_cost="0.5")
    for run in (first, second):
        run.wait()
    journal().update(first.execution_id, summary={"peak_gpu_memory_percent": 41.5, "val_acc": 0.9, "loss": None})
    diff = compare(read_side(session, first.execution_id), read_side(session, second.short_id))
    found = facts(diff)
    assert found["State"] == ("completed", "failed")
    assert found["Exit code"] == ("0", "1")
    assert found["Machine"] == ("gpu.a100", "gpu.h100")
    assert found["Time limit"] == ("60 s", "90 s")
    assert found["Labels"] == ("a", "")
    assert found["--max-cost"] == ("", "0.5")
    assert found["--metadata"] == ("team=x", "")
    assert found["Error"] == ("", "ZeroDivisionError: division by zero")
    assert found["Peak GPU memory percent"] == ("41.5", "")
    assert found["val_acc"] == ("0.9", "")
    assert "loss" not in found  # no figure on either side
    assert diff.code[3:] == ["-lr = 0.1", "+lr = 0.2", " print(lr)", "+1/0"]


def test_packages_and_files_differ_one_by_one(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("one")
    first = session.run("print(1)", files=["data.txt"])
    (tmp_path / "data.txt").write_text("two!")
    second = session.run("print(1)", files=["data.txt"], requirements=["packaging>=23"])
    second.abort()  # what it would install takes seconds
    found = facts(compare(read_side(session, first.execution_id), read_side(session, second.execution_id)))
    assert found["Package packaging"] == ("", ">=23")
    before, after = found["File data.txt"]
    assert before.startswith("3 bytes, ")
    assert after.startswith("4 bytes, ")


def test_a_run_from_elsewhere_is_compared_by_what_the_cloud_keeps(session):
    abroad = session.client.execution.start_streaming({"code": "print(2)\n"}).execution_id
    session.get(abroad).wait()
    run = session.run("print(1)")
    run.wait()
    diff = compare(read_side(session, run.execution_id), read_side(session, abroad))
    assert "-print(1)" in diff.code
    assert "+print(2)" in diff.code
    assert facts(diff)["Machine"] == ("gpu.l40s", "cpu")


def test_no_such_run_is_told(session):
    with pytest.raises(UsageError, match="No run of yours starts with"):
        read_side(session, "ffffffff")


def test_the_same_code_is_said_to_be_the_same():
    shown = str(DiffView(compare(Side("a" * 36, "x = 1\n", {"State": "failed"}), Side("b" * 36, "x = 1", {}))))
    assert "The code is identical." in shown
    assert shown.splitlines()[2].split() == ["State", "failed"]


def test_signs_tell_what_differs_and_colour_is_not_the_only_one():
    before, after = (
        Side("a" * 36, f"x = 1\nkey = '{KEY}'", {"State": "failed"}),
        Side("b" * 36, "x = 2 < 3", {"State": "ok"}),
    )
    bundle = DiffView(compare(before, after))._repr_mimebundle_()
    assert "State" in bundle["text/plain"]
    assert "\n-x = 1\n" in bundle["text/plain"]
    assert "+x = 2 < 3" in bundle["text/plain"]
    assert "+x = 2 &lt; 3" in bundle["text/html"]
    assert KEY[3:] not in str(bundle)


def test_scores_and_curves_of_up_to_eight_runs_come_first_and_equal_facts_are_only_listed(session):
    code = "for n in range(1, 4): print(f'epoch {n}/3 loss: {RATE / n:.2f}')"
    runs = [session.run(code.replace("RATE", rate), gpu="A100") for rate in ("0.3", "0.6", "0.9")]
    for run in runs:
        run.wait()
    diff = compare(*(read_side(session, run.short_id) for run in runs))
    assert diff.differences[0].name == "loss"
    assert diff.differences[0].values == ("0.1", "0.2", "0.3")
    assert len([line for line in diff.code if line.startswith("+for")]) == 2
    bundle = DiffView(diff)._repr_mimebundle_()
    assert re.search(r"loss +█▂▁ 0.1 +█▂▁ 0.2", bundle["text/plain"])
    assert bundle["text/html"].startswith('<img alt="Curves of loss"')
    assert "Machine" in bundle["text/plain"].partition("Equal: ")[2]
