"""Python runs: a script with files and requirements, in a new interpreter."""

from __future__ import annotations

import json
import re
import sys
from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path

from lk_jupyter.localcloud.runs.live_run import ProcessRun
from lk_jupyter.localcloud.runs.outcome import Ended, RunOutcome

_BOOT = str(Path(__file__).with_name("_boot.py"))

#: Maximum characters of a file name, below the limits of file systems.
_NAME_CHARACTERS = 100


class PythonRun(ProcessRun):
    """A script."""

    kind = "python code"
    job_type = "python"

    async def _prepare_command(self) -> list[str]:
        await to_thread(self._write_files)
        python = await self._prepare_interpreter()
        source = self._request.code + (self._request.import_files or "")
        self._provision = await to_thread(self._runs.provide, self._caller.org_id, source)
        return [
            *self._provision.prefix,
            python,
            "-u",
            _BOOT,
            _format_imports(self._request.prior_imports),
            self._script,
        ]

    def _build_variables(self) -> Mapping[str, str]:
        return self._provision.variables

    async def _prepare_interpreter(self) -> str:
        """Return the interpreter with the requirements."""
        requirements = (self._request.requirements_content or "").strip()
        if not requirements:
            return sys.executable
        installed = await self._wait_unless_ended(
            self._runs.environments.get_or_install(requirements, self._run_setup_command)
        )
        self._update_record(install_log=installed.log, install_return_code=installed.return_code)
        if installed.return_code != 0:
            last = (installed.log.strip().splitlines() or ["it said nothing"])[-1].strip()
            raise Ended(RunOutcome("failed", reason=f"the requirements could not be installed: {last}"))
        return installed.python

    @property
    def _script(self) -> str:
        return choose_script_name(self._request.file_name)

    def _write_files(self) -> None:
        for name, text in json.loads(self._request.import_files or "{}").items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="")
        (self._folder / self._script).write_text(self._request.code, "utf-8", newline="")


def choose_script_name(file_name: str | None) -> str:
    """Return a plain file name for the script."""
    name = re.split(r"[/\\]", file_name or "")[-1]
    name = re.sub(r"[^\w.\- ]", "_", name).strip(". ")[-_NAME_CHARACTERS:] or "main.py"
    return name if name.endswith(".py") else name + ".py"


def _format_imports(prior: list[str] | None) -> str:
    """Turn module names into import statements; import statements don't change."""
    return "\n".join(line if re.match(r"\s*(import|from)\s", line) else f"import {line}" for line in prior or [])
