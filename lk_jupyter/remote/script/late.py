"""Lets the code of a run start before its packages are restored: the first use of a package waits for all packages.

Uses are imports, searches for modules and distributions, and the start of processes, which inherit the packages.
Another process restores the packages: Python locks imports during a search, so a thread could import nothing meanwhile.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from typing import Any

#: Seconds after which a waiting import reports the reason.
_SILENT_SECONDS = 2.0

#: Modules that start processes without ``subprocess`` and without a fork.
_PROCESS_MODULES = frozenset({"multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver"})

#: Functions of ``os`` that start or replace a process.
_PROCESS_FUNCTIONS = ("system", "posix_spawn", "posix_spawnp", "execv", "execve")


class LatePackages:
    """Packages that a process restores; a finder of modules that waits for the process.

    - ``names``: top-level modules of the packages.
    - ``size``: bytes of the packages.
    - ``process``: writes the reason to stdout if it can't restore the packages, and then ends.
    - ``finish``: activates the packages, with this reason and the seconds that the code waited.
    """

    def __init__(
        self, names: list[str], size: int, process: subprocess.Popen[bytes], finish: Callable[[str, float], None]
    ) -> None:
        self._names = frozenset(names)
        self._size = size
        self._process = process
        self._finish = finish
        self._lock = threading.RLock()
        self._is_active = False
        self._finisher = 0
        self._guarded: list[tuple[Any, str, Any, Any]] = []

    def start(self) -> None:
        """Wait before each use from now on."""
        sys.meta_path.insert(0, self)
        self._guard_function(type(self._process), "__init__")
        for name in _PROCESS_FUNCTIONS:
            if hasattr(os, name):
                self._guard_function(os, name)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self.wait)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Wait before the search for a module of the packages; the next finder finds it."""
        if not self._is_active and (name.partition(".")[0] in self._names or name in _PROCESS_MODULES):
            self.wait()

    def find_distributions(self, context: Any = None) -> Iterator[Any]:
        """Wait before a search for distributions."""
        self.wait()
        return iter(())

    def wait(self) -> None:
        """Wait until the packages are complete, and activate them."""
        if self._is_active or self._finisher == threading.get_ident():
            return
        started = time.monotonic()
        with self._lock:
            if self._is_active:
                return
            reason = self._wait_for_process()
            self._finisher = threading.get_ident()
            try:
                self._finish(reason, time.monotonic() - started)
            finally:
                self._finisher = 0
            self._is_active = True
            self._remove_guards()

    def _wait_for_process(self) -> str:
        """Return why the packages aren't restored; empty if they are."""
        end = time.monotonic() + _SILENT_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if self._process.poll() is None:
            sys.stderr.write("Waiting for packages from the bucket ({:,.0f} MB).\n".format(self._size / 1e6))
        self._process.wait()
        output: Any = self._process.stdout
        return str(output.read().decode(errors="replace"))

    def _guard_function(self, owner: Any, name: str) -> None:
        """Let a function wait first."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wait_first(*args: Any, **kwargs: Any) -> Any:
            self.wait()
            return original(*args, **kwargs)

        setattr(owner, name, wait_first)
        self._guarded.append((owner, name, original, wait_first))

    def _remove_guards(self) -> None:
        for owner, name, original, guard in self._guarded:
            if getattr(owner, name) is guard:
                setattr(owner, name, original)
