"""Compare counts with the limits of ``limits.json``. A limit may only fall.

A count above its limit fails: new code adds no finding. A count below its limit fails too, until ``--lower`` records
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

PATH = Path(__file__).with_name("limits.json")
#: What to do after two branches lowered the same limit.
CONFLICT = "If a rebase conflicts in tests/limits.json, keep either side and run the same command again."


def read(path: Path = PATH) -> dict[str, int]:
    """Read all limits."""
    text = path.read_text(encoding="utf-8")
    if "<<<<<<<" in text:
        raise SystemExit(f"{path.name} has conflict markers: git checkout --ours tests/limits.json. {CONFLICT}")
    limits: dict[str, int] = json.loads(text)
    return limits


def exceeded(group: str, counts: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """Return the limit of each count above it. A count without a limit has the limit 0."""
    return {key: limit for key, count in counts.items() if count > (limit := limits.get(f"{group}: {key}", 0))}


def too_high(group: str, counts: Mapping[str, int], limits: Mapping[str, int]) -> list[str]:
    """Return the keys of the limits that their counts don't reach."""
    keys = [name.removeprefix(f"{group}: ") for name in limits if name.startswith(f"{group}: ")]
    return [key for key in keys if counts.get(key, 0) < limits[f"{group}: {key}"]]


def lower(group: str, counts: Mapping[str, int], *, first: bool = False, path: Path = PATH) -> None:
    """Record the counts below their limits; with ``first``, set limits for all counts."""
    limits = read(path)
    for key in counts if first else too_high(group, counts, limits):
        limits[f"{group}: {key}"] = counts.get(key, 0)
    entries = {name: limit for name, limit in sorted(limits.items()) if limit}
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def report(group: str, counts: Mapping[str, int], script: str) -> bool:
    """Print the limits that must fall, and return whether there are any."""
    limits = read()
    keys = too_high(group, counts, limits)
    for key in keys:
        print(f"{group}: {key}: {counts.get(key, 0)} findings, limit {limits[f'{group}: {key}']}")
    if keys:
        print(f"Fewer findings than before, thank you. Record it: python tests/{script} --lower\n{CONFLICT}")
    return bool(keys)
