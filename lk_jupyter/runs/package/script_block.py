"""Apply the script block of a cell or a notebook to a run, and require consent where the block isn't the user's.

A notebook may be another person's. A block of a file that this user hasn't trusted needs one answer before packages are
installed, and a block that raises the highest cost needs one as well.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from lk_jupyter.code.script_block import BLOCK_START, ScriptBlock, block_options, find_notebook_block, read_block
from lk_jupyter.code.source import Source
from lk_jupyter.config.consents import is_trusted
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.parts import RemoteModule

if TYPE_CHECKING:
    from lk_jupyter.runs.package.bundle import Bundle

#: Digests of the blocks that the user of this process allowed.
_allowed: set[str] = set()

_MAX_NAMES = 30


def find_block(source: Source, *, in_session: bool) -> ScriptBlock | None:
    """Return the block of the code, or of the notebook's first cell; None without a block, and in a session.

    Raises UsageError for a malformed block, and for packages in a cell of a session.
    """
    block = source.block or read_block(source.code, first_line=source.first_line)
    if in_session:
        if block and block.dependencies:
            raise UsageError(
                "A script block doesn't install packages in a session. Nothing was sent. Install them in a cell of "
                f"the session: %pip install {shlex.join(block.dependencies)}"
            )
        return None
    if not source.is_cell:
        return block
    notebook = current_cell().notebook
    block = block or _find_executed_block() or find_notebook_block(notebook, source.code)
    return block and replace(block, notebook=Path(notebook) if notebook else None)


def _find_executed_block() -> ScriptBlock | None:
    """Return the block of the newest executed cell that contains nothing but a block: the file may be older."""
    ipython = sys.modules.get("IPython")  # IPython isn't imported for this
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    inputs = list(enumerate(getattr(shell, "user_ns", {}).get("In") or ()))
    for number, text in reversed(inputs):
        if isinstance(text, str) and BLOCK_START in text and all(line[:1] in {"", "#"} for line in text.split("\n")):
            return read_block(text, place=f"cell [{number}]")
    return None


def apply_block(options: RunOptions, block: ScriptBlock | None) -> RunOptions:
    """Return the options with machine and limits of a block, where the line doesn't set them."""
    return options.model_copy(update=block_options(block, options, setting("max_cost")))


def python_part(block: ScriptBlock | None) -> list[RemoteModule]:
    """Return the module that compares the Python of the run with the block's range."""
    if block is None or not block.requires_python:
        return []
    clauses = [[clause.operator, clause.version] for clause in SpecifierSet(block.requires_python)]
    settings = {"clauses": clauses, "range": block.requires_python, "place": block.place}
    return [RemoteModule("script.python_version", settings)]


@dataclass(frozen=True)
class Price:
    """The price of a machine per hour and the highest cost of a run, in credits; None if unknown."""

    per_hour: Decimal | None
    worst_case: Decimal | None

    def exceeds(self, limit: Price) -> bool:
        """Return whether one of the amounts is higher, or can't be compared because one of both is unknown."""
        pairs = ((self.per_hour, limit.per_hour), (self.worst_case, limit.worst_case))
        return any(amount != bound and (bound is None or amount is None or amount > bound) for amount, bound in pairs)


def describe_request(block: ScriptBlock, bundle: Bundle, limit: Price | None) -> str:
    """Describe the packages and the price of a block, if the user must allow these; empty otherwise.

    ``limit`` is the price of the same run without the block, None if the block sets no machine and no limits.
    """
    if block.digest in _allowed or (block.notebook and is_trusted(block.notebook)):
        return ""
    requests = []
    if block.dependencies and block.notebook:
        more = len(block.dependencies) - _MAX_NAMES
        names = ", ".join(block.dependencies[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        requests.append(f"packages {names}")
    if limit and Price(bundle.machine.price_per_hour, bundle.worst_case).exceeds(limit):
        machine = f"machine {bundle.machine.hardware_profile} ({price_label(bundle.machine)})"
        requests.append(f"{machine}, {bundle.at_most}")
    return f"The script block in {block.place} requests {'; '.join(requests)}." if requests else ""


def require_block_consent(bundles: Iterable[Bundle], ask: Callable[[str], bool] | None = None) -> None:
    """Require consent for the blocks of bundles, with one question for each block. Raises UsageError without it."""
    for bundle in bundles:
        block = bundle.block
        if block is None or not bundle.block_request or block.digest in _allowed:
            continue
        if not (ask and ask(f"{bundle.block_request} Use it? [y/N] ")):
            fix = "Put machine and limits on the line of the magic, such as --gpu A100 --timeout 600"
            if block.notebook:
                fix = f"If you trust the notebook, run in a shell: jupyter trust {shlex.quote(str(block.notebook))}"
            raise UsageError(f"{bundle.block_request} Nothing was sent. {fix}")
        _allowed.add(block.digest)
