"""Make clouds start quickly: the process from which they are forked makes their routes once, most of their start."""

from lk_jupyter.localcloud import app
from lk_jupyter.localcloud.runs import notebook_run
from lk_jupyter.localcloud.strange import Strange

ROUTED = app.routed(Strange())
routed = app.routed
app.routed = lambda strange: routed(strange) if strange.names else ROUTED

#: A Jupyter server without Lab and other extensions starts in 0.55 s of CPU, not 1.35; no test looks at those of a run.
notebook_run._SERVER = "jupyter_server"
variables = notebook_run.NotebookRun._variables
notebook_run.NotebookRun._variables = lambda run: {**variables(run), "JUPYTER_NO_CONFIG": "1"}
