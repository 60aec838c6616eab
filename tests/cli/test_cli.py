"""The command line ``lk``: records, exit codes, and the same engine as the magics."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import for_each

from lk_jupyter._version import __version__
from lk_jupyter.api.states import is_final
from lk_jupyter.cli import LIMIT_SECONDS, main
from lk_jupyter.cli.output import CLOSED, EXIT_CODES
from lk_jupyter.cli.parser import COMMANDS, format_overview
from lk_jupyter.config.settings import setting
from lk_jupyter.session import current


@pytest.fixture
def lk(capsys):
    """A function that executes a command in this process and returns its exit code and records."""

    def execute(*words):
        code = main([*words, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return execute


def test_a_run_prints_its_id_first_then_its_log_then_its_end(signed_in, lk):
    code, records = lk("run", "-c", "print(6 * 7); print('done')")
    assert code == 0
    assert [record["event"] for record in records] == ["started", *["log"] * (len(records) - 2), "ended"]
    assert re.fullmatch(r"[\w-]{8,}", records[0]["id"])
    assert "".join(record["text"] for record in records[1:-1]) == "42\ndone\n"
    assert (records[-1]["state"], records[-1]["return_code"]) == ("completed", 0)
    assert lk("logs", records[0]["id"], "--since", "3")[1][0]["text"] == "done\n"


def test_a_failed_run_has_its_traceback_and_the_exit_code_1(signed_in, lk, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("x = 1\nraise ValueError('no data')\n")
    code, records = lk("run", str(script))
    assert code == 1
    assert (records[-1]["state"], 'File "train.py", line 2' in records[-1]["traceback"]) == ("failed", True)


def test_a_run_is_planned_started_waited_for_fetched_and_stopped(signed_in, lk):
    code, (plan,) = lk("plan", "-c", "total = 42", "--gpu", "A100", "--timeout", "60")
    assert (code, plan["machine"], plan["timeout"], plan["max_cost"]) == (0, "gpu.a100", 60, pytest.approx(0.026942))
    start = ("start", "-c", "total = 42; big = list(range(10_000))", "--out", "total,big", "--key", "agent-1")
    code, (started,) = lk(*start)
    assert lk(*start)[1][0]["id"] == started["id"]
    assert lk("wait", started["id"])[0] == code == 0
    code, records = lk("fetch", started["id"])
    assert code == 0
    assert {"event": "variable", "name": "total", "type": "int", "value": 42} in records
    assert next(len(record["head"]) for record in records if record.get("name") == "big") == 10_000
    _, (sleeping,) = lk("start", "-c", "import time; time.sleep(600)")
    code, records = lk("wait", sleeping["id"], "--seconds", "0")
    assert (code, records[-1]["event"], records[-1]["next"]) == (3, "running", f"lk wait {sleeping['id']}")
    assert lk("run", "-c", "import time; time.sleep(600)", "--seconds", "1")[0] == 3
    for record in lk("runs")[1]:
        if not is_final(record["state"]):
            code, (aborted,) = lk("stop", record["id"])
            assert (code, aborted["state"]) == (0, "aborted")


@for_each(
    [
        (["run"], 2, "Give a script or -c CODE"),
        (["run", "missing.py"], 2, "Can't read 'missing.py'"),
        (["run", "-c", "print("], 2, "SyntaxError"),
        (["run", "-c", "1", "--gpu", "NOPE"], 2, "NOPE"),
        (["run", "-c", "1", "--timeout", "x"], 2, "--timeout"),
        (["run", "-c", "1", "--sweep", "a=1"], 2, "doesn't accept '--sweep'"),
        (["run", "-c", "1", "--seconds", "41"], 2, "--seconds"),
        (["run", "-c", "key = 'AKIAIOSFODNN7EXAMPLA'"], 2, "--allow-secrets"),
        (["wait"], 2, "needs ID"),
        (["wait", "zz zz"], 2, "isn't a run id"),
        (["rum"], 2, "Did you mean lk run?"),
        (["put", "missing.csv"], 2, "missing.csv"),
        (["get", "no/such/key"], 5, "no/such/key"),
    ],
    name=lambda row: " ".join(row[0]),
)
def test_errors_are_records_with_an_exit_code_and_a_command(row, signed_in, lk):
    words, expected, text = row
    code, records = lk(*words)
    assert (code, records[-1]["event"], records[-1]["exit_code"]) == (expected, "error", expected), records
    assert text in f"{records[-1]['error']}: {records[-1]['message']}"
    assert "%lk_runs" not in records[-1]["message"]
    assert "AKIAIOSFODNN7" not in json.dumps(records)


@pytest.mark.nightly  # a server may know a new run only after 10 s
def test_an_unknown_run_is_an_error_with_its_status(signed_in, lk):
    code, records = lk("wait", "0" * 32)
    assert (code, "HTTP 404" in records[-1]["message"]) == (5, True)


def test_files_are_stored_listed_and_fetched(signed_in, lk, tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n")
    code, (stored,) = lk("put", str(tmp_path / "train.csv"), "cli/")
    assert (code, stored["key"], stored["path"].endswith("cli/train.csv")) == (0, "cli/train.csv", True)
    assert [record["key"] for record in lk("ls", "cli/")[1]] == ["cli/train.csv"]
    code, (fetched,) = lk("get", "cli/train.csv", f"{tmp_path}/copy.csv")
    assert Path(fetched["file"]).read_text() == "a,b\n"


def test_a_folder_brings_hidden_files_only_when_they_are_confirmed(signed_in, lk, tmp_path):
    current().storage.put(b"x", "cli/hidden/.bashrc")
    code, (refused,) = lk("get", "cli/hidden/", str(tmp_path / "to"), "--include-hidden")
    assert (code, ".bashrc" in refused["message"], (tmp_path / "to").exists()) == (2, True, False)
    assert lk("get", "cli/hidden/", str(tmp_path / "to"), "--include-hidden", "--yes")[0] == 0
    assert (tmp_path / "to" / ".bashrc").read_bytes() == b"x"


def test_the_account_has_machines_and_a_balance(signed_in, lk):
    assert "gpu.a100" in [record["machine"] for record in lk("machines")[1]]
    assert lk("balance")[1][0]["credits"] > 0


def test_a_start_key_with_other_code_is_refused(signed_in, lk):
    _, (first,) = lk("start", "-c", "print(1)", "--key", "same")
    code, records = lk("start", "-c", "print(2)", "--key", "same")
    assert (code, "belongs to a run with other code" in records[-1]["message"]) == (2, True)
    lk("wait", first["id"])


def test_a_start_key_that_only_the_cloud_knows_gives_its_run_for_the_same_code_only(
    signed_in, lk, monkeypatch, tmp_path
):
    key = ("--key", "elsewhere")
    _, (first,) = lk("start", "-c", "total = 1", *key)
    lk("wait", first["id"])
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "other" / "journal.sqlite"))  # another machine
    assert lk("start", "-c", "total = 1", *key)[1][0]["id"] == first["id"]
    expected = f"The start key 'elsewhere' belongs to run {first['id']} with other code or another machine."
    for words in (["total"], ["total = 1; print(total)"], ["total = 1", "--gpu", "A100"]):
        code, records = lk("start", "-c", *words, *key)
        assert (code, expected in records[-1].get("message", "")) == (2, True), (words, records)


def test_one_start_key_in_parallel_processes_gives_one_run(signed_in, lk):
    command = [sys.executable, "-m", "lk_jupyter.cli", "start", "-c", "print(1)", "--key", "parallel", "--json"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    ids = {json.loads(process.communicate()[0].splitlines()[0])["id"] for process in started}
    assert len(ids) == 1
    assert not list((setting("journal").parent / "start-keys").iterdir())
    lk("wait", ids.pop())


def test_without_a_key_the_exit_code_is_4(home, lk):
    code, records = lk("balance")
    assert (code, records[-1]["error"]) == (4, "NotSignedIn")


def test_a_silent_server_ends_the_command_within_its_limit(home, tmp_path):
    script = (
        "import socket, sys, lk_jupyter.cli as cli; cli.LIMIT_SECONDS = 0.5; server = socket.create_server(('', 0)); "
        "import os; os.environ.update(LK_BASE_URL=f'http://127.0.0.1:{server.getsockname()[1]}', LK_API_KEY='lk_x'); "
        "sys.argv = ['lk', 'start', '-c', 'print(1)', '--json']; cli.entry()"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, env=os.environ)
    assert (ended.returncode, json.loads(ended.stdout)["error"]) == (7, "OutcomeUnknown"), ended.stderr
    assert LIMIT_SECONDS < 45


def test_people_get_the_log_on_stdout_and_the_rest_on_stderr(signed_in, capsys):
    assert main(["run", "-c", "print(6 * 7)"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1:] == ["42"]
    assert "completed" in printed.err


def test_help_lists_every_command_and_exit_code(capsys):
    assert main([]) == main(["--help"]) == 0
    text = format_overview()
    assert all(f"  {name:10}" in text for name in COMMANDS)
    assert all(meaning in text for meaning in EXIT_CODES.values())
    for name, command in COMMANDS.items():
        assert main([name, "--help"]) == 0
        assert command.summary.partition(". ")[0] in " ".join(capsys.readouterr().out.split())


def test_the_skill_lists_every_exit_code_and_only_commands_that_exist(capsys):
    assert main(["skill"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("---\nname: lk\n")
    assert set(re.findall(r"`lk (\w+)", text)) <= COMMANDS.keys()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == EXIT_CODES.keys() - {130, CLOSED}


def test_an_agent_with_the_skill_alone_needs_eight_calls(signed_in, lk, tmp_path):
    """Follow SKILL.md: plan, balance, start, the same start after a doubt, wait, logs, fetch, stop of a second run."""
    script = tmp_path / "train.py"
    script.write_text("loss = 0.25\nprint('loss', loss)\n")
    run = (str(script), "--gpu", "A100", "--timeout", "60")
    calls = [lk("plan", *run)]
    assert calls[-1][1][0]["max_cost"] < 0.03
    calls.append(lk("start", *run, "--max-cost", "0.03", "--out", "loss", "--key", "train-2"))
    run_id = calls[-1][1][0]["id"]
    calls.append(lk("wait", run_id, "--seconds", "40"))
    calls.append(lk("logs", run_id, "--since", "0"))
    calls.append(lk("fetch", run_id))
    calls.append(
        lk("start", "-c", "import time; time.sleep(600)", "--gpu", "A100", "--timeout", "60", "--key", "other")
    )
    calls.append(lk("stop", calls[-1][1][0]["id"]))
    assert [code for code, _ in calls] == [0] * len(calls)
    assert len(calls) <= 8
    assert calls[4][1][0]["value"] == 0.25


TRAINING = "for step in range(3):\n    loss = 1 / (step + 1)\n    print('step', step, 'loss', loss)\n"
GUIDE = Path(__file__).parents[2] / "notebooks" / "how-to" / "agents.md"


def test_the_session_of_an_agent_in_the_guide_is_executed_with_equal_output(signed_in, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAINING)
    transcript = re.search(r"```text\n(\$ lk .*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[1]
    calls = [call.strip().split("\n") for call in transcript.split("$ lk ")[1:]]
    assert 5 <= len(calls) <= 8
    ids = {}  # id in the guide → id of the run
    for command, *lines in calls:
        words = [ids.get(word, word) for word in shlex.split(command)]
        assert main(words) == 0, command
        printed = join_log(capsys.readouterr().out.splitlines())
        for line in lines:
            if match := re.search(r'"started", "id": "(\w{8})', line):
                ids[match[1]] = json.loads(printed[0])["id"][:8]
        assert len(printed) == len(lines), (command, printed)
        for line, text in zip(lines, printed, strict=True):
            assert re.fullmatch(as_pattern(line, ids), text), f"{line}\n{text}"


def join_log(lines):
    """Return the lines with one record for the log, whose pieces depend on their arrival."""
    records = [json.loads(line) for line in lines]
    log = [record for record in records if record["event"] == "log"]
    whole = [{**log[-1], "text": "".join(record["text"] for record in log)}] if log else []
    return [json.dumps(record) for record in [*whole, *(each for each in records if each not in log)]]


def as_pattern(line, ids):
    """Return a pattern for a line of the guide: ids are of this session, times and amounts are any numbers."""
    pattern = re.escape(line).replace("…", ".*")
    for guide_id, run_id in ids.items():
        pattern = pattern.replace(guide_id, run_id)
    return re.sub(r'("(?:seconds|cost|next)":\\ )[\d.e\\-]+', r"\1[\\d.e-]+", pattern)


def test_the_version_is_printed(lk):
    code, (record,) = lk("--version")
    assert (code, record["text"]) == (0, __version__)


def test_a_reader_that_ends_early_such_as_head_gets_no_traceback(signed_in):
    code = "for number in range(20_000): print('line', number)"
    command = [sys.executable, "-m", "lk_jupyter.cli", "run", "--gpu", "A100", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == CLOSED
    assert "Traceback" not in errors
    assert "BrokenPipeError" not in errors
    assert re.search(r"The output was closed\. Run [\w-]+ may still be active\. Wait: lk wait [\w-]+", errors)
