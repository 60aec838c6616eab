"""The browser of the tests: the Chromium or Chrome of this machine, which ``python tests/ui/browser.py`` sees to."""

import os
import shutil
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


if __name__ == "__main__" and not find():
    install()
