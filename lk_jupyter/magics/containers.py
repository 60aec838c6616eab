"""``%%lk_docker``, ``%%lk_compose`` and ``%lk_open``: run images and stacks, open their ports."""

from __future__ import annotations

from html import escape

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML, display

from lk_jupyter._python import open_page
from lk_jupyter.code.source import Source
from lk_jupyter.magics._engine.ask import ask_hidden
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._output.live import StatusLine
from lk_jupyter.magics.run import FIRST_LINE, start
from lk_jupyter.options.runs import ComposeOptions, DockerOptions, OpenOptions
from lk_jupyter.runs.containers.containers import prepare_compose, prepare_image
from lk_jupyter.runs.ports import open_port
from lk_jupyter.runs.run import Run
from lk_jupyter.session import current


@magic(DockerOptions)
def lk_docker(options: DockerOptions, shell: InteractiveShell, cell: str) -> None:
    """Run a container image on the cloud; the cell is a shell script that runs in the container.

    If the cell has only comments, the container runs the image's default command. The bucket is at /mnt/s3. Log, cost,
    interrupt, --detach and %lk_attach work as with %%lk_run.

    Examples::

        %%lk_docker python:3.11-slim --gpu A100
        %%lk_docker ghcr.io/team/app:1 --login me -e MODE=test -e HF_TOKEN
        %%lk_docker nginx --port 80 --timeout 600 --detach
    """
    session = current()
    source = Source(cell, "cell.sh", first_line=FIRST_LINE)
    start(session, prepare_image(session, source, options, ask_hidden), options, shell)


@magic(ComposeOptions)
def lk_compose(options: ComposeOptions, shell: InteractiveShell, cell: str) -> None:
    """Run several containers together on the cloud. The cell is a compose file, which is checked before the upload.

    Examples::

        %%lk_compose --gpu A100
        %%lk_compose --mount --timeout 600 --detach
    """
    session = current()
    source = Source(cell, "compose.yaml", first_line=FIRST_LINE)
    start(session, prepare_compose(session, source, options, ask_hidden), options, shell)


@magic(OpenOptions)
def lk_open(options: OpenOptions, shell: InteractiveShell) -> None:  # noqa: ARG001 (every magic takes both)
    """Open a port of a run or VM in a browser, and show its address.

    A port of a VM is forwarded over SSH until this kernel ends. In Jupyter, your Jupyter server forwards the page only
    to signed-in users. The page must then use relative addresses, as TensorBoard does. Outside of Jupyter, the address
    is a port of this machine. Other users of this machine can open it too.

    Examples::

        %lk_open 3f0c 8000
        %lk_open vm-3f0c 6006
        %lk_open 3f0c 8000 --no-browser
    """
    run = Run.attach(current(), options.run)
    opened = open_port(run, options.port)
    if opened.is_ready and not options.no_browser:
        open_page(opened.url)
    state, wait = ("listening", "") if opened.is_ready else ("not listening yet", _WAIT)
    display(StatusLine(state, [opened.url], wait))
    if opened.path:  # the browser may reach the server at another address
        display(HTML(f'<a href="{escape(opened.path)}" target="_blank" rel="noopener">Open the page</a>'))


_WAIT = "Nothing answers yet; the program may still be starting. The address stays the same."
