"""Ports of VMs that only the Jupyter server of a kernel can reach, for its signed-in user.

The kernel forwards the port over SSH to a Unix socket in a folder of the user, and stores its path in a file. The
Jupyter server reads the file and passes requests on. Without Unix sockets, as on Windows, it is a port of this machine.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.files import write_private
from lk_jupyter.protocol.vm_run import make_vm_key
from lk_jupyter.vms.facts import forward_path

if TYPE_CHECKING:
    from lk_jupyter.vms.hosted import VmRun
    from lk_jupyter.vms.shell import PortForward


class SharedPort:
    """A forwarded port of a VM, and the file with the port for the Jupyter server. Raises ConnectionFailed, OSError.

    Requests go to the Unix ``socket``, with ``port`` in their address; without a socket, to ``port`` of this machine.
    """

    def __init__(self, vm_run: VmRun, port: int, name: str) -> None:
        vm_id = make_vm_key(vm_run.facts.active_id)
        self.path = f"lk/ports/{vm_id}/{name}/"
        self._forward: PortForward = vm_run.forward(port, is_private=True)
        self.socket, self.port = self._forward.socket, self._forward.port or port
        self._file = forward_path(vm_id, name)
        try:
            write_private(self._file, json.dumps({"socket": self.socket, "port": self.port}))
        except OSError:
            self._forward.close()
            raise

    def close(self) -> None:
        """Close the port and all connections."""
        self._forward.close()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


def find_server() -> dict[str, Any] | None:
    """Return the facts of the Jupyter server that started this kernel, such as ``url`` and ``base_url``, if any."""
    server_id = os.environ.get("JPY_PARENT_PID") or os.getppid()
    with suppress(OSError, ValueError, ImportError):
        from jupyter_core.paths import jupyter_runtime_dir  # noqa: PLC0415 (only kernels have a server)

        facts = json.loads(Path(jupyter_runtime_dir(), f"jpserver-{server_id}.json").read_text("utf-8"))
        if isinstance(facts, dict) and {"url", "base_url"} <= facts.keys():
            return facts
    return None
