"""lk_jupyter.runs.outcome: what a run printed, and why it failed."""

import pytest

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.remote.script import run as driver
from lk_jupyter.runs.outcome import build_error, read_result


@pytest.mark.parametrize("stderr", [None, "", "at the end\n"])
def test_what_was_moved_from_stderr_to_its_place_in_stdout_is_stderr_in_the_result(monkeypatch, stderr):
    monkeypatch.setattr(driver, "_nonce", "5f2c9f0e8d7b4a61")
    moved = b"".join(driver.lines("stderr", {"text": "warned\n"}, "1")).decode()
    shown = b"".join(driver.lines("display", {"data": {"text/plain": "figure"}}, "2")).decode()
    result = read_result(
        ExecutionRecord(
            execution_id="x",
            status="completed",
            metadata={FRAMES_KEY: "5f2c9f0e8d7b4a61"},
            stdout=f"one\n{moved}two\n{shown}",
            stderr=stderr,
        )
    )
    assert (result.stdout, result.stderr) == ("one\ntwo\n", "warned\n" + (stderr or ""))


@pytest.mark.parametrize("log", [None, "Collecting x\nERROR: No matching distribution found for x\n"])
def test_requirements_that_cannot_be_installed_are_named_in_the_words_of_the_installer(log):
    record = ExecutionRecord(execution_id="x", status="failed", install_return_code=1, install_log=log)
    said = str(build_error(record))
    assert "couldn't install its requirements:\n" + (log or "") in said
    assert said.endswith("Correct -r, then run again.")
