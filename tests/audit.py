"""Looks up the known vulnerabilities of what we depend on, and checks the workflow files that there are.

    python tests/audit.py [--fail]

Exits with 1 when a workflow file is unsafe. With --fail, also when a newer version of a package fixes a known
vulnerability: this depends on the day and not on the change, so `make check` only reports it and the weekly
workflow fails. A service that can't be reached is reported, and is no failure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORKFLOWS = ".github/workflows"

_SECONDS = 180
_NOT_REACHED = "not reached"


def main() -> int:
    """Print a line for each audit and return the exit code."""
    with ThreadPoolExecutor() as pool:
        python = pool.submit(_said, sys.executable, "-m", "pip_audit", *_PIP_AUDIT)
        npm = pool.submit(_said, "npm", "--prefix", "labextension", "audit", "--omit=dev", "--json")
    found = {
        "Python packages": python_problems(python.result()),
        "npm packages": npm_problems(npm.result()),
        "Workflow files": workflow_problems(ROOT),
    }
    for name, problems in found.items():
        print(f"{name}: {_NOT_REACHED if problems is None else '; '.join(problems) or 'no known problem'}")
    return int(bool(found["Workflow files"]) or ("--fail" in sys.argv and any(found.values())))


_PIP_AUDIT = ("--format", "json", "--progress-spinner", "off", "--path", sysconfig.get_path("purelib"))


def python_problems(text: str) -> list[str] | None:
    """Return the packages that a newer version mends; None when the service knew none of them."""
    rows = _json(text).get("dependencies", [])
    looked_up = [row for row in rows if "vulns" in row]
    if not looked_up:
        return None
    return [
        f"{row['name']} {row['version']}: {vulnerability['id']}, fixed in {', '.join(vulnerability['fix_versions'])}"
        for row in looked_up
        for vulnerability in row["vulns"]
        if vulnerability["fix_versions"]
    ]


def npm_problems(text: str) -> list[str] | None:
    """Return the packages of the browser half that a newer version mends; None when the service did not answer."""
    answer = _json(text)
    if "vulnerabilities" not in answer:
        return None
    return [f"{name}: {row['severity']}" for name, row in answer["vulnerabilities"].items() if row["fixAvailable"]]


def workflow_problems(root: Path) -> list[str]:
    """Return what is unsafe in the workflow files."""
    if not list((root / WORKFLOWS).glob("*.y*ml")):
        return []
    program = Path(sysconfig.get_path("scripts"), "zizmor")
    done = subprocess.run([program, "--offline", "--no-progress", root / WORKFLOWS], check=False, capture_output=True)
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).decode(errors="replace")]


def _json(text: str) -> dict:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(program: str, *arguments: str) -> str:
    """Return what a program prints, nothing when it is missing or takes too long."""
    command = [shutil.which(program) or program, *arguments]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    sys.exit(main())
