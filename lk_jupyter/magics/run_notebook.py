"""``%lk_run_notebook``: run an entire notebook on the cloud."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._output.run import RunDisplay
from lk_jupyter.magics.run import show, start
from lk_jupyter.options.runs import NotebookRunOptions
from lk_jupyter.runs.notebooks.notebook import prepare_notebook
from lk_jupyter.runs.observers.default import default_observers
from lk_jupyter.runs.reattach import find_previous_run
from lk_jupyter.session import current


@magic(NotebookRunOptions)
def lk_run_notebook(options: NotebookRunOptions, shell: InteractiveShell) -> None:
    """Run an entire notebook on the cloud, with parameters. The executed copy is written next to the notebook.

    After a restart of this kernel, follow the run with %lk_attach, or run the same line with --attach auto.

    Examples::

        %lk_run_notebook train.ipynb --gpu A100 -p lr=0.1 -p epochs=3
        %lk_run_notebook train.ipynb --gpu A100 -r torch -o runs/first.ipynb --attach auto
    """
    session = current()
    package = prepare_notebook(session, options)
    if options.attach == "auto" and not options.dry_run and (run := find_previous_run(session, package)):
        run.note = "Attached to the run that was already started for this notebook."
        observers = default_observers(session, options, attached=run, namespace=shell.user_ns)
        show(run, RunDisplay(shell, run.machine, quiet=options.quiet, observers=observers), shell, options)
        return
    start(session, package, options, shell)
