"""Runs tests on one mutant after the other, each in a fork of a process that has the libraries already.

Reads a line of JSON for each mutant and answers with one: the exit code of pytest, and the test that failed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    "IPython.core.interactiveshell",
    "_pytest.assertion.rewrite",
    "anywidget",
    "boto3",
    "cloudpickle",
    "detect_secrets",
    "fastapi",
    "httpx",
    "hypothesis",
    "ipywidgets",
    "keyring",
    "obstore",
    "pydantic",
    "pytest",
    "tenacity",
    "xxhash",
    "yaml",
)
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--tb=line", "-W", "ignore::pytest.PytestAssertRewriteWarning")
_OUT_OF_TIME = -1


def main() -> None:
    """Answer until the input ends."""
    for library in LIBRARIES:
        import_module(library)
    for line in sys.stdin:
        print(json.dumps(_tried(**json.loads(line))), flush=True)


def _tried(file: str, source: str, tests: list[str], seconds: float) -> dict[str, object]:
    path, began = Path(file), time.monotonic()
    original, times = path.read_bytes(), path.stat()
    path.write_text(source, encoding="utf-8")
    try:
        code, output = _forked(tests, seconds)
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return {"code": code, "by": failed[:1], "seconds": round(time.monotonic() - began, 1), "output": output[-1500:]}


def _forked(tests: list[str], seconds: float) -> tuple[int, str]:
    log = Path("mutant.log")
    child = os.fork()
    if not child:
        os.setsid()
        with log.open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = 3
        try:
            code = import_module("pytest").main([*OPTIONS, *tests])
        finally:
            sys.stdout.flush()
            os._exit(int(code))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return _OUT_OF_TIME, log.read_text(errors="replace")


if __name__ == "__main__":
    main()
