"""lk_jupyter.runs.notebooks.saved_variables: what the next machine of a session reads."""

from types import SimpleNamespace

import pytest

from lk_jupyter.config.files import read_json
from lk_jupyter.runs.notebooks.saved_variables import place_to_save, remember_requirements, saved_file


def make_run(execution_id):
    storage = SimpleNamespace(presign=lambda *_, **__: SimpleNamespace(url="http://127.0.0.1/link"))
    session = SimpleNamespace(storage=storage, base_url="http://127.0.0.1")
    return SimpleNamespace(execution_id=execution_id, session=session)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("next_run", "requirements"), [("1", ["emoji==2"]), ("2", None)])
def test_a_python_that_restarts_on_its_machine_keeps_the_packages_for_the_next_machine(next_run, requirements):
    place_to_save(make_run("1"), "train", 60)
    remember_requirements("train", ["emoji==2"])
    place_to_save(make_run(next_run), "train", 60)
    assert read_json(saved_file())["train"].get("requirements") == requirements
