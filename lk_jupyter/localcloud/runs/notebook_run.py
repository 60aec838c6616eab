"""Notebook servers on a machine without their image: Jupyter of this server's own environment, on a free port."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lk_jupyter._python import module_command
from lk_jupyter.localcloud.runs.environments import create_environment, python_path
from lk_jupyter.localcloud.runs.live_run import ProcessRun

JOB_TYPE = "customer_notebook"
DEFAULT_PORT = 8888

_SERVER = "jupyterlab" if find_spec("jupyterlab") else "jupyter_server"
_OPTIONS = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
_ENCRYPTED = ["--KernelManager.transport_encryption=auto"]  # else all users of this machine could read messages
_OPEN = ["--ServerApp.allow_remote_access=True"]  # requests arrive with the run's host name
_QUICK = ["--LanguageServerManager.autodetect=False"]  # it would start npm to look for language servers
_REPLACED = re.compile(r"--((\w+\.)?(ip|port|port_retries)=.*|no-browser|allow-root)")
_TOKEN = re.compile(r"--\w+\.token=(.+)", re.DOTALL)
_PORT = re.compile(r"--(?:\w+\.)?port=(\d{1,5})", re.ASCII)


def stands_in_for(request: Any) -> bool:
    """Return whether a run requests a Jupyter server that can start without its image."""
    is_notebook = request.job_type == JOB_TYPE and "jupyter" in request.docker_image_ref.lower()
    return is_notebook and find_spec("jupyter_server") is not None


def format_image_note(request: Any) -> str:
    """Return a note about the process that replaces the image."""
    return (
        "This machine has no container engine, or can't download the image. Instead of "
        f"{request.docker_image_ref}, a Jupyter server runs as a plain process in this machine's Python "
        "environment. This server has the packages and files of this machine."
    )


class NotebookRun(ProcessRun):
    """A Jupyter server. The server behaves as if it had the requested port."""

    kind = "docker"
    job_type = JOB_TYPE
    _packages = Path()

    async def _prepare_command(self) -> list[str]:
        self._update_record(status_details=format_image_note(self._request))
        arguments = [part.replace("--NotebookApp.", "--ServerApp.") for part in (self._request.docker_run_cmd or ())]
        options = [part for part in dict.fromkeys(arguments) if part.startswith("--")]  # of two equal, Jupyter fails
        user_options = [part for part in options if not (_REPLACED.fullmatch(part) or _TOKEN.fullmatch(part))]
        self._packages = await asyncio.to_thread(create_environment, self._environment_folder)
        port = _find_free_port()
        self.ports[_parse_requested_port(arguments)] = port
        return [*module_command(_SERVER), *_OPTIONS, *_OPEN, *_ENCRYPTED, *_QUICK, f"--port={port}", *user_options]

    @property
    def _jupyter_folder(self) -> Path:
        """The folder of Jupyter's own files, next to the folder in which the notebooks work."""
        return self._folder.with_name(f"{self._folder.name}.jupyter")

    @property
    def _environment_folder(self) -> Path:
        """The environment into which pip installs, so that the server's own environment doesn't change."""
        return self._jupyter_folder / "python"

    async def _clean_up(self) -> None:
        await super()._clean_up()
        await asyncio.to_thread(shutil.rmtree, self._jupyter_folder, ignore_errors=True)

    def _build_variables(self) -> dict[str, str]:
        """Keep the token off the command line, and the user's own Jupyter settings and IPython history out.

        Commands such as ``%pip install`` change the environment of this run only.
        """
        folders = {f"JUPYTER_{kind}_DIR": str(self._jupyter_folder / kind.lower()) for kind in _FOLDERS}
        folders["IPYTHONDIR"] = str(self._jupyter_folder / "ipython")
        tokens = [match[1] for part in (self._request.docker_run_cmd or ()) if (match := _TOKEN.fullmatch(part))]
        folders["PIP_PYTHON"] = python_path(self._environment_folder)
        path = [str(self._packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        folders["PYTHONPATH"] = os.pathsep.join(path)
        return {**super()._build_variables(), **folders, **({"JUPYTER_TOKEN": tokens[-1]} if tokens else {})}


_FOLDERS = ("CONFIG", "DATA", "RUNTIME")


def _parse_requested_port(arguments: list[str]) -> int:
    ports = [int(match[1]) for part in arguments if (match := _PORT.fullmatch(part))]
    return ports[-1] if ports else DEFAULT_PORT


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
