"""The local cloud is a plain web server: a shell script drives it with curl alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
from localcloud.conftest import description

SCRIPT = Path(__file__).with_name("drive.sh")

#: Answer → its schema in the API description.
SCHEMAS = {
    "start": "StreamingStartResponse",
    "status": "StreamingStatusResponse",
    "record": "ExecutionRecord",
    "logs": "LogQueryResponse",
    "start_endless": "StreamingStartResponse",
    "abort": "AbortResponse",
    "aborted": "ExecutionRecord",
}


@pytest.fixture(scope="module")
def answers(cloud, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    subprocess.run(["sh", SCRIPT, cloud.base_url, cloud.api_key, folder], check=True, timeout=60)
    return folder


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_answer_fits_the_description(answers, name):
    schema = {"$ref": f"#/components/schemas/{SCHEMAS[name]}", "components": description()["components"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads((answers / f"{name}.json").read_text()))


def test_the_answers_tell_the_story_of_the_runs(answers):
    read = {name: json.loads((answers / f"{name}.json").read_text()) for name in SCHEMAS}
    assert (answers / "stream.txt").read_text().endswith('{"jobFinished":{"job":{"result":{"returnCode":0}}}}\n\n')
    assert read["status"]["status"] == "completed"
    assert read["record"]["stdout"] == "0\n1\n2\n"
    assert [row["message"] for row in read["logs"]["logs"]] == ["0", "1", "2"]
    assert '"error":"aborted on request"' in (answers / "aborted.txt").read_text()
    assert read["aborted"]["status"] == "aborted"
