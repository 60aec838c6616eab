"""A run that saves itself before its time is up, and the next one that goes on from there."""

import json
import re

import pytest

from lk_jupyter.session import connect

COUNTING = """
import json, time

def lk_checkpoint(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "step.json").write_text(json.dumps(step))

step = json.loads((lk_resume / "inner" / "step.json").read_text()) if lk_resume else 0
print("from", step)
for step in range(step, {steps}):
    time.sleep(.02)
print("done")
"""


@pytest.fixture(scope="module")
def kernel(kernel):
    """A kernel whose runs save after two fifths of their time: a busy machine needs more for it than the last fifth."""
    kernel.run("from lk_jupyter.runs.package import checkpoint\ncheckpoint.LATE = 0.4")
    return kernel


def test_a_run_out_of_time_ends_with_the_line_that_goes_on_from_what_it_saved(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --timeout 10 --label long --save first" + COUNTING.format(steps=900))
    assert cell.error["ename"] == "RunFailed"
    assert "Try --timeout" not in str(cell.messages)  # a second fix, which would begin anew
    said = next(line.strip() for shown in cell.shown for line in shown.splitlines() if "Saved" in line)
    saved, _, line = said.partition(" Resume from this checkpoint: ")
    assert re.fullmatch(r"Saved 1 file, [23] B, after 4\.\d s\.", saved)
    short_id = kernel.value("first.short_id").strip("'")
    assert line == f"%%lk_run --gpu A100 --timeout 10 --save first --label=long --resume {short_id}"

    cell = kernel.run(line + COUNTING.format(steps=260))
    assert cell.error is None
    begun = int(cell.text.splitlines()[0].removeprefix("from "))
    assert 50 < begun < 260
    assert cell.text.splitlines()[-1] == "done"


def test_a_member_who_overwrites_a_checkpoint_is_not_resumed_from(kernel, cloud):
    kernel.run("%%lk_run --gpu A100 --timeout 6 --save first" + COUNTING.format(steps=500))
    with connect(cloud.base_url, cloud.api_key) as member:
        (saved,) = [
            found for found in member.storage.ls(".lk/c/") if kernel.value("first.bundle.token").strip("'") in found.key
        ]
        member.storage.put(bytes(saved.size), saved.key)
    cell = kernel.run(f"%%lk_run --gpu A100 --timeout 20 --resume {_id(kernel, 'first')}" + COUNTING.format(steps=3))
    assert "The checkpoint of --resume was changed in the bucket, so it was not read." in str(cell.messages)
    assert "from" not in cell.text


def test_a_checkpoint_that_was_deleted_from_the_bucket_is_named_and_nothing_is_sent(kernel, cloud):
    kernel.run("%%lk_run --gpu A100 --timeout 6 --save first" + COUNTING.format(steps=500))
    key = f".lk/c/{kernel.value('first.bundle.token').strip(chr(39))}"
    with connect(cloud.base_url, cloud.api_key) as member:
        (saved,) = [found.key for found in member.storage.ls(".lk/c/") if found.key.startswith(key)]
        member.storage.remove(saved)
    cell = kernel.run(f"%%lk_run --gpu A100 --resume {_id(kernel, 'first')}" + COUNTING.format(steps=3))
    assert f"was deleted from the bucket: {saved}. Nothing was sent." in str(cell.messages)


def test_a_run_that_ends_in_time_saves_nothing(kernel):
    cell = kernel.run("%%lk_run --timeout 20" + COUNTING.format(steps=3))
    assert cell.text == "from 0\ndone\n"
    assert "Saved" not in cell.shown[-1]


def test_systemexit_in_the_checkpoint_ends_the_run_after_it_is_saved_and_shows_the_line_that_resumes(kernel):
    code = (
        "import time\ndef lk_checkpoint(folder):\n    (folder / 'a').write_text('x')\n    raise SystemExit\n"
        "time.sleep(30)\nprint('never')"
    )
    cell = kernel.run(f"%%lk_run --timeout 10 --save run\n{code}")
    assert cell.error is None
    assert cell.text == ""
    short_id = kernel.value("run.short_id").strip("'")
    resume = f"Resume from this checkpoint: %%lk_run --timeout 10 --save run --resume {short_id}"
    assert re.search(rf"Saved 1 file, 1 B, after 4\.\d s\. {re.escape(resume)}", cell.shown[-1])
    assert float(kernel.value("run.result().duration")) < 10
    assert kernel.run(f"%%lk_run --resume {_id(kernel)}\nprint((lk_resume / 'a').read_text())").text == "x\n"


def _id(kernel, name="run"):
    return kernel.value(f"{name}.execution_id").strip("'")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("1 / 0", "lk_checkpoint failed (ZeroDivisionError: division by zero)"),
        ("pass", "lk_checkpoint wrote no files into its folder"),
    ],
)
def test_a_checkpoint_that_does_not_work_is_told_and_does_not_end_the_run(kernel, body, words):
    code = (
        f"import time\ncalled = []\ndef lk_checkpoint(folder):\n    called.append(1)\n    {body}\n"
        "while not called: time.sleep(.01)\nprint('went on')"
    )
    cell = kernel.run(f"%%lk_run --timeout 5\n{code}")
    assert cell.text == "went on\n"
    assert f"⚠ Nothing was saved: {words}." in cell.shown[-1]


def test_the_link_to_the_bucket_shows_nowhere(kernel):
    cell = kernel.run("%%lk_run --timeout 1 --save run" + COUNTING.format(steps=500))
    kernel.run("from lk_jupyter.journal.journal import journal")
    entry = kernel.value("str(vars(journal().get(run.execution_id)))")
    assert "script.checkpoint" in entry
    kept = [json.dumps(cell.messages), entry, kernel.value("run.record.stdout"), kernel.value("str(run.bundle)")]
    assert [text for text in kept if "X-Amz" in text or "Signature" in text] == []


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("", "def lk_checkpoint():\n    pass", "def lk_checkpoint(folder)"),
        ("--resume zzzz", "1", "No run of yours starts with 'zzzz'"),
        ("--resume {id}", "1", "has no checkpoint"),
    ],
)
def test_what_cannot_be_saved_or_resumed_is_refused_before_anything_is_sent(kernel, cloud, line, code, words):
    kernel.run("%%lk_run --save run\n1")
    before = cloud.client.billing.history().total
    cell = kernel.run(f"%%lk_run {line.format(id=_id(kernel))}\n{code}")
    assert cell.error["ename"] == "UsageError"
    assert words in cell.error["evalue"]
    assert cloud.client.billing.history().total == before


def test_a_run_in_the_background_tells_what_it_saved_too(kernel):
    code = "import time\ndef lk_checkpoint(folder):\n    (folder / 'a').write_text('x')\ntime.sleep(30)"
    cell = kernel.run(f"%%lk_run --detach --timeout 6 --save run\n{code}")
    last = kernel.texts_until(cell, lambda text: "timeout" in text)[-1]
    assert "Saved 1 file, 1 B" in last
    assert f"--resume {re.search('run ([0-9a-f]{8})', last)[1]}" in last
