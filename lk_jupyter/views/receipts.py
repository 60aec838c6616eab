"""Read the receipts of runs in a notebook file, each run once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lk_jupyter.api.states import is_final, is_run_id
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.text.terminal import plain
from lk_jupyter.views.run import METADATA_KEY


def receipts(notebook: str | Path | Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the receipts in a notebook: a receipt for each ended run.

    Some Jupyter servers save each update of an output, so a file may have several receipts of the same run. The last
    receipt counts, but a billed cost counts more than an estimate. The values come from the file, not from the cloud.

    Args:
        notebook: The path of the file, or the content, as ``nbformat.read`` returns it.

    Returns:
        A list of dicts, in the order of the runs: ``execution_id`` (str), ``state`` (str), ``machine`` (str),
        ``seconds`` (float), ``cost`` (str, credits) and ``cost_is`` (``billed``, ``estimated`` or ``at most``), if
        the receipt has them, and the other facts of the receipt.

    Raises:
        UsageError: The file can't be read, or isn't a notebook.

    Example:
        >>> output = {"metadata": {"lk_jupyter": {"execution_id": "3f0c", "state": "completed", "cost": "0.02"}}}
        >>> lk_jupyter.receipts({"cells": [{"outputs": [output, output]}]})
        [{'execution_id': '3f0c', 'state': 'completed', 'cost': '0.02'}]
    """
    content = notebook if isinstance(notebook, Mapping) else _read_notebook(Path(notebook))
    by_run: dict[str, dict[str, Any]] = {}
    for receipt in _yield_receipts(content):
        run_id = receipt["execution_id"]
        is_weaker = receipt.get("cost_is") != "billed" and by_run.get(run_id, {}).get("cost_is") == "billed"
        if not is_weaker:
            by_run[run_id] = receipt
    return list(by_run.values())


def _read_notebook(path: Path) -> Mapping[str, Any]:
    try:
        content = load_json(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"Can't read the notebook '{path}': {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise UsageError(f"'{path}' isn't a notebook: it has no cells.")
    return content


def _yield_receipts(notebook: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give each receipt of an ended run; a file may contain anything."""
    for cell in _list_mappings(notebook, "cells"):
        for output in _list_mappings(cell, "outputs"):
            metadata = output.get("metadata")
            facts = metadata.get(METADATA_KEY) if isinstance(metadata, Mapping) else None
            if not isinstance(facts, Mapping):
                continue
            for receipt in _list_mappings(facts, "runs") if "runs" in facts else [facts]:
                if is_run_id(receipt.get("execution_id")) and is_final(str(receipt.get("state"))):
                    yield {plain(str(name)): _convert_to_plain_value(value) for name, value in receipt.items()}


def _list_mappings(container: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = container.get(name)
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _convert_to_plain_value(value: Any) -> Any:
    """Return a number unchanged, and any other value as text that no terminal obeys."""
    return value if value is None or isinstance(value, (int, float)) else plain(str(value))
