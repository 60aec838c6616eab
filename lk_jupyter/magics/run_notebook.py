"""``%lk_run_notebook``: a whole notebook on the cloud, and back."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._run_view import RunView
from lk_jupyter.magics.run import check_name, show, start
from lk_jupyter.options import NotebookRunOptions
from lk_jupyter.runs.company import company_of
from lk_jupyter.runs.notebook import prepare_notebook
from lk_jupyter.runs.resume import same_run
from lk_jupyter.runs.session import current


@magic(NotebookRunOptions)
def lk_run_notebook(options: NotebookRunOptions, shell: InteractiveShell) -> None:
    """Run a whole notebook on the cloud, with parameters; the executed one is written beside it, cell by cell.

    After a restart of this kernel, %lk_attach or the same line with --attach auto goes on with it.

    Examples::

        %lk_run_notebook train.ipynb --gpu A100 -p lr=0.1 -p epochs=3
        %lk_run_notebook train.ipynb --gpu A100 -r torch -o runs/first.ipynb --attach auto
    """
    check_name(options.save)
    session = current()
    package = prepare_notebook(session, options)
    if options.attach == "auto" and not options.plan and (run := same_run(session, package)):
        run.note = "Attached to the run of this notebook that was started before."
        company = company_of(session, options, attached=run, namespace=shell.user_ns)
        show(run, RunView(shell, run.machine, quiet=options.quiet, company=company), shell, options)
        return
    start(session, package, options, shell)
