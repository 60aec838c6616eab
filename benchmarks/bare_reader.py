"""The yardstick: submit a run with bare httpx and print its output to a file. Prints two times in seconds.

    python benchmarks/bare_reader.py BASE_URL API_KEY CODE FILE

The first is that of the first piece of output, the second that of the end, both counted from the submit.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import httpx

PREFIX = "data:"


def read(client: httpx.Client, code: str, file: Path) -> tuple[float, float]:
    """Run the code and return the seconds to its first output and to its end."""
    began = time.perf_counter()
    first = 0.0
    request = {"code": code, "execution_type": "gpu.l40s"}
    started = client.post("/api/v2/external/execution/streaming/start", json=request).raise_for_status().json()
    with client.stream("POST", started["streaming_url"]) as response, file.open("w", encoding="utf-8") as log:
        for line in response.iter_lines():
            if line.startswith(PREFIX) and "output" in (event := json.loads(line[len(PREFIX) :])):
                print(event["output"]["content"], end="", file=log)
                first = first or time.perf_counter() - began
    return first, time.perf_counter() - began


def main(base_url: str, api_key: str, code: str, file: str) -> None:
    """Read once to warm up the connection, then once for the figures."""
    with httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {api_key}"}, timeout=600) as client:
        read(client, "print(10)", Path(file))
        print(*read(client, code, Path(file)))


if __name__ == "__main__":
    main(*sys.argv[1:])
