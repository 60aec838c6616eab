"""Podman for the tests of containers: installed where it is missing, with an image that is made here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from uuid import uuid4

import pytest

NEEDED = ("podman", "runc", "nft", "busybox")
PACKAGES = ("podman", "runc", "nftables", "busybox-static")
APPLETS = ("sh", "echo", "sleep", "cat", "env", "id", "ls", "nc", "httpd", "mkdir", "printf", "seq")


def make_image(folder):
    """Import an image of a few programs into Podman and return its name."""
    install()
    for name in ("bin", "etc", "tmp"):
        (folder / name).mkdir()
    shutil.copy(shutil.which("busybox"), folder / "bin" / "busybox")
    for applet in APPLETS:
        (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n")
    archive = folder.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, ".")
    name = f"localhost/lk-tests-{uuid4().hex}:1"
    podman("import", archive, name)
    return name


#: Folders of Python's library that no cell needs, which make an image large.
_LEFT_OUT = {"site-packages", "test", "idlelib", "ensurepip", "__pycache__", "config-3"}


def make_python_image(folder):
    """Import an image with the programs of ``make_image`` and with the Python of this machine; return its name."""
    base = make_image(folder)
    prefix, program = Path(sys.base_prefix), Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    modules = [*map(str, (library / "lib-dynload").glob("*.so"))]
    listed = subprocess.run(["ldd", program, *modules], check=True, capture_output=True, text=True).stdout
    needed = set(re.findall(r"(/\S+) \(0x", listed))

    def choose(member):
        parts = set(Path(member.name).parts)
        return None if any(part.startswith(name) for part in parts for name in _LEFT_OUT) else member

    archive = folder.with_suffix(".python.tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, ".")
        tar.add(library, str(library), filter=choose)
        for path in [str(program), *needed]:
            tar.add(Path(path).resolve(), path)
        link = tarfile.TarInfo("bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(program)
        tar.addfile(link)
    assert program.is_relative_to(prefix)
    name = base.replace(":1", ":python")
    podman("import", archive, name)
    return name


def podman(*arguments):
    """Run Podman and return what it says."""
    return subprocess.run(["podman", *arguments], check=True, capture_output=True, text=True).stdout


def install():
    """Install what runs containers, where it is missing and can be installed."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    if all(shutil.which(program, path=path) for program in NEEDED):
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        pytest.fail(f"Tests of containers need {', '.join(PACKAGES)}: install them, or run as root on Debian")
    subprocess.run(["apt-get", "update", "--quiet"], check=True, capture_output=True)
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *PACKAGES]
    subprocess.run(install, check=True, capture_output=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
