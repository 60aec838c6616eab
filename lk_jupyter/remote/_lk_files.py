"""Files of the author that are not text: puts them where the code works, before it runs. A part: travels with a run."""

from __future__ import annotations

import os
import sys
from binascii import a2b_base64

import _lk_run


def before(settings, namespace):
    """Write the files, in the folder of the other files that came along."""
    folder = os.path.join(_lk_run.HERE, "files")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    for name in settings.get("folders", ()):
        os.makedirs(name, exist_ok=True)
    for name, content in settings["files"].items():
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "wb") as file:
            file.write(a2b_base64(content))
