"""Secrets: what runs are given, and nobody else."""

from __future__ import annotations

import pytest

PATH = "/environment-variables/"
SHOW = "import os\nprint(os.environ.get({!r}))"
SECRET = "s3cr3t-värde-4711"


@pytest.fixture
def own(make_api):
    """A local cloud without variables."""
    return make_api()


def names(api):
    return [row["name"] for row in api.get(PATH).json()["environment_variables"]]


def upsert(api, **values):
    return api.post(PATH, {"environment_variables": [{"name": n, "value": v} for n, v in values.items()]})


def test_a_run_finds_the_variables_in_its_environment(own):
    assert upsert(own, TOKEN=SECRET, EMPTY="").status_code == 200
    assert own.run("import os\nprint(os.environ['TOKEN'], repr(os.environ['EMPTY']))")["stdout"] == f"{SECRET} ''\n"


def test_a_single_variable_is_taken_without_a_batch_and_replaces_the_older_one(own):
    first = own.post(PATH, {"name": "TOKEN", "value": "old"}).json()["environment_variables"][0]
    second = own.post(PATH, {"name": "TOKEN", "value": "new", "is_secret": False}).json()["environment_variables"][0]
    assert (first["id"], first["created_at"]) == (second["id"], second["created_at"])
    assert second["updated_at"] > first["updated_at"]
    assert own.run(SHOW.format("TOKEN"))["stdout"] == "new\n"


def test_a_value_is_never_given_back_and_not_on_disk_as_it_is(own):
    upsert(own, TOKEN=SECRET)
    assert SECRET not in own.get(PATH).text
    own.cloud.restart()
    own.connect()
    kept = b"".join(path.read_bytes() for path in own.cloud.data.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert (own.cloud.data / "variables_key").stat().st_mode & 0o777 == 0o600
    assert own.run(SHOW.format("TOKEN"))["stdout"] == f"{SECRET}\n"


def test_one_goes_by_its_id_and_all_at_once(own):
    upsert(own, A="1", B="2", C="3")
    ids = {row["name"]: row["id"] for row in own.get(PATH).json()["environment_variables"]}
    assert own.http.delete(PATH + ids["B"]).status_code == 200
    assert names(own) == ["A", "C"]
    assert own.http.delete(f"{PATH}B").status_code == 404
    assert own.http.delete(PATH).status_code == 200
    assert names(own) == []
    assert own.run(SHOW.format("A"))["stdout"] == "None\n"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"environment_variables": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, 400),
        ({"environment_variables": [{"name": "GOOD", "value": "1"}, {"name": "1BAD", "value": "2"}]}, 422),
        ({"environment_variables": [{"name": "GOOD", "value": "1"}, {"name": "B", "value": "a\0b"}]}, 400),
        ({"environment_variables": [{"name": "GOOD", "value": "1"}, {"name": "B", "value": "x" * 40_000}]}, 400),
        ({"environment_variables": [{"name": f"N{n}", "value": "x" * 32_000} for n in range(20)]}, 400),
        ({"name": "WITH\n", "value": "1"}, 422),
        ({"name": "A"}, 422),
        ([], 422),
        (None, 422),
    ],
)
def test_what_cannot_be_kept_is_refused_whole_and_without_the_value(api, body, status):
    before = names(api)
    answer = api.post(PATH, body)
    assert answer.status_code == status
    assert "x" * 100 not in answer.text
    assert names(api) == before


def test_a_value_that_is_no_text_is_refused(api):
    answer = api.http.post(
        PATH, content=b'{"name": "HALF", "value": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    assert "HALF" not in names(api)


def test_a_run_stays_the_clouds_whatever_the_variables_are_called(own):
    upsert(own, LK_EXECUTION_ID="forged", PYTHONUNBUFFERED="")
    run = own.start("import os, time\nprint(os.environ['LK_EXECUTION_ID'], flush=True)\ntime.sleep(600)")
    assert own.first_line(run) == run
    own.post(f"/workloads/abort/{run}")
    assert own.ended(run)["status"] == "aborted"
