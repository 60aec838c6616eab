"""What runs in the process of a local cloud of the tests."""

import os
import sys
from multiprocessing.connection import Connection

from lk_jupyter.localcloud.__main__ import main


def serve(arguments: list[str], env: dict[str, str], stdout: Connection) -> None:
    """Do as ``python -m lk_jupyter.localcloud`` does in a new process with this environment."""
    os.environ.clear()
    os.environ.update(env)
    os.dup2(stdout.fileno(), sys.stdout.fileno())
    stdout.close()
    sys.argv = ["lk_jupyter.localcloud", *arguments]
    sys.exit(main())
