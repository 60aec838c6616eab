"""The browser of the tests: the Chromium or Chrome of this machine, which ``python tests/ui/browser.py`` sees to."""

import ctypes
import errno
import os
import platform
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
#: The number of the system call ``socket``, and the kind of socket that hears of the machine's network.
SOCKET = {"x86_64": 41, "aarch64": 198}.get(platform.machine()) if sys.platform == "linux" else None
NETLINK = 16
ADVICE = "The browser tests need Chromium or Chrome: install one, or set CHROMIUM to its program."


def find() -> str | None:
    """Return the program of a browser that Playwright can drive."""
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), *PLACES]
    return next((path for path in candidates if path and Path(path).is_file()), None)


def install() -> None:
    """Install Chromium where the machine's package manager is apt and we may use it."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(ADVICE)
    print("Installing Chromium for the browser tests ...", flush=True)
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
    subprocess.run(["apt-get", "update"], check=False, **quiet)
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], check=True, **quiet)


def without_network_changes(program: str, folder: Path) -> str:
    """Return a program that is this one, but never hears that the network of the machine changes.

    Chromium drops what it asks for at that moment, also from this machine. Each container that starts or ends brings
    an interface or takes one away, and then a page of Lab is left without its style, or its kernel.
    """
    if SOCKET is None:
        return program
    starter = folder / "chromium"
    starter.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-S", __file__, program])} "$@"\n')
    starter.chmod(0o700)
    return str(starter)


def _become(program: str, arguments: list[str]) -> None:
    """Become a program that can open no socket of netlink: a filter of the kernel refuses it, here and in children."""
    load, jump, end, allowed, refused = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | errno.EAFNOSUPPORT
    steps = (
        *((load, 0, 0, 0), (jump, 0, 3, SOCKET)),  # another system call is allowed
        *((load, 0, 0, 16), (jump, 0, 1, NETLINK)),  # so is another kind of socket
        *((end, 0, 0, refused), (end, 0, 0, allowed)),
    )
    rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    control = ctypes.CDLL(None).prctl
    control(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which only root may filter
    control(22, 2, struct.pack("HP", len(steps), ctypes.addressof(rules)), 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    if sys.argv[1:]:
        _become(sys.argv[1], sys.argv[2:])
    elif not find():
        install()
