"""Make clouds and kernels start quickly: the process from which they are forked does once what is most of their start.

It makes the routes of clouds, and imports what serves, what runs cells and what the first cell of a notebook uses.
"""

import sys
from importlib import import_module

from lk_jupyter.localcloud import app
from lk_jupyter.localcloud.runs import notebook_run
from lk_jupyter.localcloud.strange import Strange

#: It takes jsonschema, of Jupyter's servers, a second to import its grammar of addresses, which no test needs.
sys.modules["rfc3987_syntax"] = None

for late in (
    "anyio._backends._asyncio",
    "cloud_process",
    "httpcore",
    "httpx",
    "ipykernel.debugger",
    "ipykernel.kernelapp",
    "jupyter_server.serverapp",
    "lk_jupyter.broker.__main__",
    "lk_jupyter.broker.server",
    "lk_jupyter.magics.run",
    "pynvml",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
):
    import_module(late)

del sys.modules["rfc3987_syntax"]

ROUTED = app.build_routes(Strange())
for route in ROUTED.routes:  # FastAPI makes what it needs of each when the first request passes it
    route.matches({"type": "http", "method": "GET", "path": "/nowhere"})
routed = app.build_routes
app.build_routes = lambda strange: routed(strange) if strange.changes_routes else ROUTED

#: A Jupyter server without Lab and other extensions starts in 0.55 s of CPU, not 1.35; no test looks at those of a run.
notebook_run._SERVER = "jupyter_server"
variables = notebook_run.NotebookRun._build_variables
notebook_run.NotebookRun._build_variables = lambda run: {**variables(run), "JUPYTER_NO_CONFIG": "1"}
