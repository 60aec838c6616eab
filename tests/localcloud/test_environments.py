"""What a run's requirements need besides the packages that are there."""

import asyncio
from pathlib import Path

import pytest

from lk_jupyter.localcloud.runs.environments import Environments


def commands_for(requirements, folder):
    """Return the commands that make an environment, none of which runs here, and the log of it."""
    asked = []

    def run(command):
        asked.append(command)
        if "venv" in command:
            Path(command[-1], "lib", "site-packages").mkdir(parents=True)
        return 0, "of the installer"

    async def execute(command):
        return run(command)

    return asked, asyncio.run(Environments(folder).get_or_install(requirements, execute)).log


@pytest.mark.parametrize(
    "requirements", ["pydantic", "pydantic>=2\n# of others\nhttpx  # too", "httpx[brotli]; python_version < '3'\nnumpy"]
)
def test_packages_that_are_there_need_no_installer(requirements, tmp_path):
    asked, log = commands_for(requirements, tmp_path)
    assert len(asked) == 1
    assert log.startswith("Requirement already satisfied: ")


@pytest.mark.parametrize(
    "requirements",
    ["pydantic<1", "pydantic\nno-such-package", "--pre\npydantic", "pydantic @ https://127.0.0.1/a.whl", "./folder"],
)
def test_other_requirements_are_the_installers(requirements, tmp_path):
    asked, log = commands_for(requirements, tmp_path)
    assert len(asked) == 2
    assert log == "of the installer"
