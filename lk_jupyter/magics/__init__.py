"""Text after ``%``: which magics there are, and how they get into a shell.

``load`` registers one light object for each row of MAGICS; what a magic needs is imported when it
is first called, asked for help, or completed.
"""

from __future__ import annotations

import re
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from lk_jupyter.interrupts import true_interrupts
from lk_jupyter.magics import _going_on, _pictures

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lk_jupyter.magics._parser import Magic, Verbs


class Row(NamedTuple):
    """One magic: its name, the module here that holds the function of that name, and its kind (line, cell).

    ``fills`` is whether IPython puts variables in place of ``{name}`` and ``$name`` on its line.
    """

    name: str
    module: str
    kind: str = "line"
    fills: bool = True


MAGICS = (
    Row("lk_help", "help"),
    Row("lk_login", "account"),
    Row("lk_logout", "account"),
    Row("lk_whoami", "account"),
    Row("lk_balance", "account"),
    Row("lk_config", "account"),
    Row("lk_run", "run", "cell"),
    Row("lk_runs", "runs"),
    Row("lk_status", "runs"),
    Row("lk_logs", "runs"),
    Row("lk_attach", "run"),
    Row("lk_wait", "wait"),
    Row("lk_abort", "runs"),
    Row("lk_history", "history"),
    Row("lk_diff", "history"),
    Row("lk_rerun", "history"),
    Row("lk_export", "history"),
    Row("lk_docker", "containers", "cell"),
    Row("lk_compose", "containers", "cell"),
    Row("lk_open", "containers"),
    Row("lk_run_notebook", "run_notebook"),
    Row("lk_notebook", "notebook"),
    Row("lk_kernel", "kernel"),
    Row("lk_machines", "runs"),
    Row("lk_ls", "storage"),
    Row("lk_put", "storage"),
    Row("lk_get", "storage"),
    Row("lk_sync", "storage"),
    Row("lk_rm", "storage"),
    Row("lk_load", "loading"),
    Row("lk_bucket", "bucket"),
    Row("lk_files", "files"),
    Row("lk_select", "select", "cell"),
    Row("lk_forget", "runs"),
    Row("lk_vm", "vms"),
    Row("lk_volumes", "vms"),
    Row("lk_secrets", "secrets"),
    Row("lk_models", "chat"),
    Row("lk_chat", "chat", "cell"),
    Row("lk_keys", "keys"),
    Row("lk_org", "orgs"),
    Row("lk_mfa", "mfa"),
    Row("lk_billing", "billing"),
    Row("lk_pricing", "billing"),
    Row("lk_batch", "batches", fills=False),
    Row("lk_embed", "embeddings"),
    Row("lk_deploy", "deployments"),
    Row("lk_deployments", "deployments"),
    Row("lk_undeploy", "deployments"),
)
_ROWS = {row.name: row for row in MAGICS}


def magic_named(name: str) -> Magic | Verbs:
    """Return a magic by its name, importing it."""
    found: Magic | Verbs = getattr(import_module(f"{__name__}.{_ROWS[name].module}"), name)
    return found


class LazyMagic:
    """A magic as IPython sees it."""

    def __init__(self, row: Row, shell: InteractiveShell) -> None:
        self.row = row
        self._shell = shell
        self._ipython_magic_no_var_expand = not row.fills

    def __repr__(self) -> str:
        return f"<magic {self.row.name}>"

    def __call__(self, line: str, cell: str | None = None) -> Any:  # noqa: D102 (IPython's help would show it)
        try:
            with true_interrupts():
                return self.magic(self._shell, line, cell)
        except KeyboardInterrupt as interrupt:
            if not hasattr(interrupt, "_render_traceback_"):  # one line, as all of ours, wherever it came
                interrupt._render_traceback_ = lambda: ["KeyboardInterrupt"]  # type: ignore[attr-defined]
            raise

    @cached_property
    def magic(self) -> Magic | Verbs:
        """The magic itself, imported on first use."""
        return magic_named(self.row.name)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """Usage, options and examples."""
        return self.magic.help()


def load(shell: InteractiveShell) -> None:
    """Add the magics, their completion and the display of our objects to a shell."""
    for row in MAGICS:
        shell.register_magic_function(LazyMagic(row, shell), row.kind, row.name)  # type: ignore[arg-type]
    if _matcher not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(_matcher)
    if _asked_of_verb not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(_asked_of_verb)
    _pictures.register(shell)
    _going_on.tell(shell)


def unload(shell: InteractiveShell) -> None:
    """Take away what ``load`` added."""
    for row in MAGICS:
        shell.magics_manager.magics[row.kind].pop(row.name, None)
    if _matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(_matcher)
    if _asked_of_verb in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(_asked_of_verb)
    _pictures.unregister(shell)


_ASKED = re.compile(r"\s*(?P<words>%(?P<name>lk_\w+) +[\w-]+) *\?{1,2}\s*")


def _asked_of_verb(lines: list[str]) -> list[str]:
    """Turn ``%lk_vm create?`` into what asks for the help of the verb; IPython would look for an object ``create``."""
    found = _ASKED.fullmatch("".join(lines))
    if not found or found["name"] not in _ROWS or not hasattr(magic_named(found["name"]), "verbs"):
        return lines
    return [f"{found['words']} --help\n"]


_LINE = re.compile(r"(?:^|=)\s*%{1,2}(?P<name>lk_\w+)[ \t](?P<rest>.*)$", re.DOTALL)


@context_matcher(identifier="lk_jupyter")  # type: ignore[untyped-decorator]
def _matcher(context: CompletionContext) -> dict[str, Any]:
    """Complete the line of one of our magics; leave any other line, and file names, to IPython."""
    found = _LINE.search(context.text_until_cursor)
    if not found or found["name"] not in _ROWS:
        return {"completions": []}
    from lk_jupyter.magics._completion import complete  # noqa: PLC0415 (when a magic's line is completed)

    fragment, words = complete(found["name"], found["rest"])
    return {
        "completions": [SimpleCompletion(word, type="magic option") for word in words],
        "matched_fragment": fragment,
        "ordered": True,
        "suppress": True,
    }
