"""Write the packages of a notebook into a script block, which runs and other tools read."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.code.imports import imported_names, local_files, providers
from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.packages import frequent_packages, installed_requirements
from lk_jupyter.code.script_block import format_block, read_block, read_code_cells
from lk_jupyter.code.syntax import parse
from lk_jupyter.config.files import working_folder
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import show_text
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.text.units import count_label

#: A line that makes the rest of a cell code for a run.
_RUN_LINE = re.compile(r"\s*%%lk_run\b.*")


@magic(NoOptions)
def lk_pin(options: NoOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Replace this cell with a list of the packages that the notebook imports, with the versions that this kernel uses.

    The list is a script block (PEP 723). Move the cell to the top of the notebook: each run then installs these
    packages. Other tables of an earlier script block, such as [tool.lk], are kept. The list contains the imports of
    saved cells and of executed cells.

    Example: ``%lk_pin``
    """
    history = list(getattr(shell.history_manager, "input_hist_raw", []))
    cell = history[-1] if history else ""
    notebook = current_cell().notebook
    cells = [*(read_code_cells(Path(notebook)) if notebook else []), *history]
    names = {name for code in cells for name in _list_imports(code)} - {"lk_jupyter"}
    foreign = {name for name in names - set(sys.stdlib_module_names) if not local_files({name}, working_folder())}
    unknown = sorted(foreign - providers().keys() - frequent_packages().keys())
    pins = installed_requirements(foreign, unknown)
    if not pins and not unknown:
        raise UsageError(
            "The notebook imports no packages. Nothing was changed. First save the notebook, or run its cells."
        )
    block = format_block(pins, unknown, next(_yield_tables(cells), ""))
    is_alone = cell.strip() == "%lk_pin"
    shell.set_next_input(block, replace=is_alone)
    place = "this cell" if is_alone else "the next cell"
    packages = count_label(len(pins), "package")
    show_text(f"Wrote a script block with {packages} into {place}. Make it the first cell of the notebook.")


def _list_imports(cell: str) -> frozenset[str]:
    """Return the imported modules of a cell; nothing for a cell that isn't Python."""
    first, _, rest = cell.partition("\n")
    with suppress(SyntaxError, ValueError):
        return imported_names(parse(replace_ipython_syntax(rest if _RUN_LINE.fullmatch(first) else cell)))
    return frozenset()


def _yield_tables(cells: list[str]) -> Iterator[str]:
    """Yield the tables of the valid blocks in cells."""
    for cell in cells:
        with suppress(UsageError):
            if (block := read_block(cell)) and block.tables:
                yield block.tables
