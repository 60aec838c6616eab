"""Repeat a run with Python alone: send its request, print its output, report its end.

``%lk_export`` writes this file with the request of a run. The program needs no package and runs on Python 3.8 or later.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

# --- the request ---
BASE_URL = ORG = NONCE = START = ""
REQUEST: dict[str, Any] = {}
# --- end of the request ---

API = BASE_URL + "/api/v2/external"
FINAL_STATES = ("completed", "success", "failed", "system_failure", "aborted", "cancelled", "timeout", "error")
MARK = "\x1b]7411;" + NONCE + ";"
#: A message to a notebook, with its line break. The line break may be in the next chunk.
FRAME = re.compile(re.escape(MARK) + "[^\a]*\a(?:\n|(?=[^\n]))")
#: Statuses after which a request is repeated.
TRANSIENT = (408, 429, 500, 502, 503, 504)
TRIES, POLLS, POLL_SECONDS, TIMEOUT_SECONDS = 4, 600, 1.0, 60


def open_url(url: str, method: str = "GET", body: bytes | None = None, *, signed: bool = True) -> Any:
    """Send a request, and return the response. The key isn't sent to the target of a redirect."""
    headers = {"Content-Type": "application/json"} if body else {"Accept": "text/event-stream, application/json"}
    request = Request(url, body, headers, method=method)  # noqa: S310 (the URL of the cloud)
    if signed:
        request.add_unredirected_header("Authorization", "Bearer " + os.environ["LK_API_KEY"])
        if ORG:
            request.add_unredirected_header("X-Org-Slug", ORG)
    return urlopen(request, timeout=TIMEOUT_SECONDS if signed else None)  # noqa: S310


def call(path: str, method: str = "GET", body: bytes | None = None) -> dict[str, Any]:
    """Return the JSON object of an operation. Repeat a failed request, except a start, which must not run twice."""
    for attempt in range(1 if body else TRIES):
        try:
            with open_url(API + path, method, body) as response:
                answer: dict[str, Any] = json.loads(response.read(), parse_float=Decimal)
                return answer
        except HTTPError as error:
            if body or error.code not in TRANSIENT or attempt == TRIES - 1:
                sys.exit(f"{error}\n{error.read().decode(errors='replace')}")
        except URLError as error:
            if body or attempt == TRIES - 1:
                sys.exit(f"Can't reach {BASE_URL}: {error.reason}")
        time.sleep(attempt + 1)
    return {}


def events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a stream of server-sent events."""
    for line in lines:
        field, _, data = line.decode(errors="replace").partition(":")
        try:
            event = json.loads(data) if field == "data" else None
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def split_frames(text: str) -> tuple[str, str]:
    """Return the text without messages to a notebook, and the start of an incomplete message at its end."""
    if NONCE:
        text = FRAME.sub("", text)
        start = text.rfind("\x1b")
        if start >= 0 and (text.startswith(MARK, start) or MARK.startswith(text[start:])):
            return text[:start], text[start:]
    return text, ""


def print_output(url: str) -> None:
    """Print the output of the run until its last event."""
    rest = ""
    with open_url(url, "POST", signed=False) as stream:
        for event in events(stream):
            if "jobFinished" in event:
                break
            output = event.get("output")
            if isinstance(output, dict):
                text, rest = split_frames(rest + str(output.get("content") or ""))
                sys.stdout.buffer.write(text.encode(errors="replace"))
                sys.stdout.flush()
    sys.stdout.buffer.write(rest.encode(errors="replace"))
    sys.stdout.flush()


def report(message: str) -> None:
    """Print a message on stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def wait_for_end(run_id: str) -> str:
    """Poll the state of the run until the run has ended, for 10 minutes at most, and return the state."""
    state = ""
    for _ in range(POLLS):
        state = str(call(f"/execution/streaming/{run_id}/status").get("status"))
        if state.startswith(FINAL_STATES):
            break
        time.sleep(POLL_SECONDS)
    return state


def repeat_run() -> int:
    """Start the run, and follow it to its end; return 0 if the run succeeded."""
    if not os.environ.get("LK_API_KEY"):
        sys.exit("Set LK_API_KEY to your API key.")
    started = call(START, "POST", json.dumps(REQUEST).encode())
    run_id = started.get("execution_id")
    if not run_id:
        sys.exit("The response to the request that starts the run has no run id. The run may be active.")
    try:
        report(f"run {run_id}")
        url = str(started.get("streaming_url") or "")
        try:
            print_output(url if url.startswith("http") else f"{BASE_URL}/api/v1/stream/{run_id}")
        except (OSError, HTTPException):
            report("The connection to the output stream broke. The record of the run has the complete output.")
        state = wait_for_end(run_id)
    except KeyboardInterrupt:
        call(f"/workloads/abort/{run_id}", "POST")
        return 130
    billed = call(f"/execution/{run_id}").get("billed")
    report(f"{state}, {format_cost(billed)} credits")
    return 0 if state in ("completed", "success") else 1


def format_cost(credits_: Any) -> str:
    """Return a cost in digits, without an exponent."""
    return "unknown" if credits_ is None else f"{Decimal(credits_):f}"


def interrupt(*_: object) -> None:
    """Handle SIGTERM as an interrupt, which aborts the run."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    sys.exit(repeat_run())
