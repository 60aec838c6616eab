"""Requests of the operator to a broker on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from lk_jupyter.errors import UsageError

#: File of the data folder with the address and the operator's key.
ADDRESS_FILE = "broker.json"


def send_request(data: Path, method: str, path: str, body: Any = None) -> Any:
    """Send a request with the operator's key of a data folder, and return its JSON, or the text of a CSV file.

    Raises UsageError without a broker, and with the reason of a refusal.
    """
    try:
        address = json.loads((data / ADDRESS_FILE).read_text(encoding="utf-8"))
        url, key = address["base_url"], address["api_key"]
    except (OSError, ValueError, KeyError):
        raise UsageError(f"No broker runs on '{data}'. Start it: python -m lk_jupyter.broker serve") from None
    headers = {"Authorization": f"Bearer {key}"}
    try:
        response = httpx.request(method, url + path, json=body, headers=headers, timeout=30)
    except httpx.HTTPError as error:
        raise UsageError(
            f"The broker doesn't answer ({type(error).__name__}). Check whether "
            f"the change was made: python -m lk_jupyter.broker list --data {data}"
        ) from None
    try:
        is_csv = response.headers.get("content-type", "").startswith("text/csv")
        answer = response.text if is_csv else response.json()
    except ValueError:
        answer = {}
    if response.is_error:
        detail = answer.get("detail") if isinstance(answer, dict) else None
        raise UsageError(str(detail or f"The broker answered HTTP {response.status_code}."))
    return answer
