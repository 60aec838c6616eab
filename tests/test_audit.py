"""What an audit takes for a problem, for none, and for a service that was not reached."""

from __future__ import annotations

import json

import audit
import pytest

MENDED = {"id": "PYSEC-1", "fix_versions": ["2.0"]}
OPEN = {"id": "PYSEC-2", "fix_versions": []}


@pytest.mark.parametrize(
    ("rows", "problems"),
    [
        ([{"name": "a", "version": "1.0", "vulns": [MENDED]}], ["a 1.0: PYSEC-1, fixed in 2.0"]),
        ([{"name": "a", "version": "1.0", "vulns": [OPEN]}, {"name": "b", "skip_reason": "not found"}], []),
        ([{"name": "b", "skip_reason": "not found"}], None),
        ([], None),
    ],
)
def test_a_python_package_is_a_problem_when_a_newer_one_mends_it(rows, problems):
    assert audit.python_problems(json.dumps({"dependencies": rows})) == problems


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        ({"vulnerabilities": {"x": {"severity": "high", "fixAvailable": True}}}, ["x: high"]),
        ({"vulnerabilities": {}}, []),
        ({"message": "405 Method Not Allowed", "statusCode": 405}, None),
    ],
)
def test_an_npm_package_is_a_problem_when_the_service_says_so(answer, problems):
    assert audit.npm_problems(json.dumps(answer)) == problems


def test_what_is_no_json_was_not_reached():
    assert audit.npm_problems("") is None
    assert audit.python_problems("<html>") is None


@pytest.mark.parametrize(("arguments", "exit_code"), [([], 0), (["--fail"], 1)])
def test_a_vulnerability_that_became_known_today_fails_no_change(monkeypatch, capsys, arguments, exit_code):
    answers = {"npm": json.dumps({"vulnerabilities": {"x": {"severity": "high", "fixAvailable": True}}})}
    monkeypatch.setattr(audit, "_said", lambda program, *_: answers.get(program, ""))
    monkeypatch.setattr("sys.argv", ["audit.py", *arguments])
    assert audit.main() == exit_code
    assert "npm packages: x: high" in capsys.readouterr().out


STEPS = """name: test
on: pull_request_target
permissions: write-all
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - run: echo "${{ github.event.pull_request.title }}"
"""


def test_a_workflow_that_runs_what_a_stranger_writes_is_a_problem(tmp_path):
    assert audit.workflow_problems(tmp_path) == []
    folder = tmp_path / audit.WORKFLOWS
    folder.mkdir(parents=True)
    (folder / "test.yml").write_text(STEPS)
    (problem,) = audit.workflow_problems(tmp_path)
    assert "template-injection" in problem
