"""Checks what works in an environment with none of our extras, and that what does not names its extra.

    python tests/bare.py [--hide]

The settings name the server. ``--hide`` puts each package that only an extra brings out of reach.
"""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from importlib.machinery import PathFinder

#: Cells that need no extra, with words that each shows.
WORK = {
    "%lk_machines": "gpu.a100",
    "%lk_config": "base_url",
    "%lk_help": "%%lk_run",
    "%%lk_run --timeout 60\nprint(6 * 7)": "42",
    "lk_jupyter.connect().client.user.status().email": "@",
    "lk_jupyter.connect().run('print(6 * 7)').result()": "42",
}
#: Cells that need an extra, with the one that each names.
ASK = {
    "lk_jupyter.openai()": "openai",
    "lk_jupyter.anthropic()": "anthropic",
    "lk_jupyter.connect('local')": "local",
    "%lk_login --local": "local",
    "%lk_kernel": "lab",
}


def without_extras() -> set[str]:
    """Return the distributions that lk-jupyter brings where nobody asks for an extra."""
    parse = import_module("packaging.requirements").Requirement
    found: set[tuple[str, str]] = set()
    asked = [("lk-jupyter", "")]
    while asked:
        name, extra = asked.pop()
        found.add((name, extra))
        for row in map(parse, metadata.requires(name) or ()):
            if row.marker is None or row.marker.evaluate({"extra": extra}):
                asked += {(_plain(row.name), more) for more in ("", *row.extras)} - found
    return {name for name, _ in found}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


class Hidden(PathFinder):
    """Finds nothing of the packages that only an extra brings."""

    names: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Find what is not hidden."""
        return None if name.partition(".")[0] in cls.names else super().find_spec(name, path, target)


def hide() -> None:
    """Put each package that only an extra brings out of reach."""
    kept = without_extras()
    owners = import_module("lk_jupyter.code.imports").providers()
    Hidden.names = frozenset(name for name, of in owners.items() if not kept & set(map(_plain, of)))
    sys.meta_path[sys.meta_path.index(PathFinder)] = Hidden


def main() -> None:
    """Run all cells in an IPython of this process."""
    lk_jupyter = import_module("lk_jupyter")
    for name in lk_jupyter.__all__:
        getattr(lk_jupyter, name)
    shell = import_module("IPython.core.interactiveshell").InteractiveShell.instance()
    shell.colors = "nocolor"
    shell.run_line_magic("load_ext", "lk_jupyter")
    shell.run_cell("import lk_jupyter")
    for cell, words in {**WORK, **{cell: _format_packages(extra) for cell, extra in ASK.items()}}.items():
        shown = _shown(shell, cell)
        if words not in shown or "Traceback" in shown:
            sys.exit(f"{cell!r} does not show {words!r}:\n{shown}")
    print(f"{len(WORK)} cells work, {len(ASK)} name their extra")


def _format_packages(extra: str) -> str:
    return " ".join(f'"{package}"' for package in import_module("lk_jupyter._extras").list_packages(extra))


def _shown(shell: object, cell: str) -> str:
    with import_module("IPython.utils.capture").capture_output() as captured:
        shell.run_cell(cell)
    rich = [str(output.data.get("text/plain", "")) for output in captured.outputs]
    return "\n".join([captured.stdout, captured.stderr, *rich])


if __name__ == "__main__":
    if "--hide" in sys.argv:
        hide()
    main()
