"""lk_jupyter.remote.script.session: pip installs the packages of a cell that the machine doesn't have."""

from __future__ import annotations

import subprocess
from importlib.metadata import version

import pytest

from lk_jupyter.remote.script import session

PINS = f"cloudpickle=={version('cloudpickle')}\n"


@pytest.fixture
def commands(monkeypatch):
    """The commands of pip, each of which fails."""
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, b"pip ran")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(session, "_answer", {})
    return commands


def test_pip_is_not_started_for_versions_that_are_installed(commands):
    session.install(f"\n{PINS}PyYAML=={version('pyyaml')}\n", None)
    assert (session._answer, commands) == ({"changed": {}}, [])


@pytest.mark.parametrize(
    "line",
    [
        "cloudpickle==0.0.1",
        "cloudpickle",
        "cloudpickle>=1",
        f"cloudpickle=={version('cloudpickle')}; python_version > '3'",
        "no-such-package==1",
        "--index-url https://example.org",
        "==",
    ],
)
def test_pip_gets_all_other_requirements(commands, line):
    session.install(PINS + line, None)
    assert (session._answer, len(commands)) == ({"problem": "pip ran"}, 1)
