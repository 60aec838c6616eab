"""A plain HTTP client of the local cloud whose every answer is held against the API description."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import datetime
from functools import cache
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml
from patience import PATIENCE

#: The cloud's own tool is made for these versions of Python only.
collect_ignore = [] if sys.version_info >= (3, 11) else ["test_lyceum_cli.py"]

DESCRIPTION = Path(__file__).parents[1] / "contract" / "openapi.yaml"
PREFIX = "/api/v2/external"
OPENAI = "/openai/v1"
IRIS = "/iris"
FINAL = {"completed", "failed", "system_failure", "aborted", "cancelled", "timeout"}


@cache
def description():
    return yaml.load(DESCRIPTION.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def operation(method, path):
    """Return the described operation of a request, fixed paths before those with placeholders."""
    for template in sorted(description()["paths"], key=lambda t: t.count("{")):
        pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in description()["paths"][template]:
            return description()["paths"][template][method.lower()]
    raise AssertionError(f"{method} {path} is not described")


def described_path(path):
    """Return the path of a request as the description has it, without the prefix of its server."""
    server = next((prefix for prefix in (PREFIX, OPENAI, IRIS) if path.startswith(f"{prefix}/")), "")
    return path.removeprefix(server)


def check_answer(response):
    """Fail unless an answer has a described status and its described form."""
    request = response.request
    response.read()
    described = operation(request.method, described_path(request.url.path))["responses"]
    answer = described.get(str(response.status_code))
    assert answer is not None, f"{request.method} {request.url.path}: {response.status_code} is not described"
    if "$ref" in answer:
        answer = description()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    if "content" in answer and response.headers["content-type"] == "application/json":
        schema = {**answer["content"]["application/json"]["schema"], "components": description()["components"]}
        jsonschema.Draft202012Validator(schema).validate(response.json())


class Api:
    """Plain requests to one local cloud."""

    def __init__(self, cloud, token=None):
        description()  # it takes a second to read, in which what the first request begins goes on
        self.cloud = cloud
        self.token = token
        self.connect()

    def connect(self):
        """Connect anew, as after a restart."""
        if hasattr(self, "http"):
            self.http.close()
        headers = {"Authorization": f"Bearer {self.token or self.cloud.api_key}"}
        hooks = {"response": [check_answer]}
        self.http = httpx.Client(
            base_url=self.cloud.base_url + PREFIX, headers=headers, timeout=PATIENCE, event_hooks=hooks
        )

    def get(self, path, **query):
        return self.http.get(path, params=query)

    def post(self, path, body=None):
        return self.http.post(path, json=body)

    def patch(self, path, body=None):
        return self.http.patch(path, json=body)

    def delete(self, path):
        return self.http.delete(path)

    def start(self, code, **fields):
        """Start a run and return its id."""
        answer = self.post("/execution/streaming/start", {"code": code, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()["execution_id"]

    def start_image(self, image, *command, **fields):
        """Start an image run and return its id."""
        body = {"docker_image_ref": image, "docker_run_cmd": command or None, "enable_s3_mount": False, **fields}
        answer = self.post("/execution/image/start", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["execution_id"]

    def run_image(self, image, *command, **fields):
        """Run an image to its end and return the record."""
        return self.ended(self.start_image(image, *command, **fields))

    def stream(self, run):
        """Yield the bytes of a run's stream as they come."""
        with httpx.stream("POST", f"{self.cloud.base_url}/api/v1/stream/{run}", timeout=PATIENCE) as response:
            assert response.status_code == 200, response.read()
            yield from response.iter_raw()

    def events(self, run):
        """Yield the events of a run's stream as they come."""
        rest = b""
        for part in self.stream(run):
            *events, rest = (rest + part).split(b"\n\n")
            yield from (json.loads(event.removeprefix(b"data: ")) for event in events)
        assert rest == b""

    def output(self, run):
        """Return the whole text of a run's stream."""
        return "".join(event["output"]["content"] for event in self.events(run) if "output" in event)

    def record(self, run):
        """Return the record of a run as it is now."""
        return self.get(f"/execution/{run}").json()

    def ended(self, run):
        """Wait until a run has ended and return its record."""
        return until(lambda: (record := self.record(run))["status"] in FINAL and record)

    def run(self, code, **fields):
        """Run code to its end and return the record."""
        run = self.start(code, **fields)
        self.output(run)
        return self.ended(run)

    def first_line(self, run):
        """Wait for the first line of a run and return it."""
        text = ""
        for event in self.events(run):
            text += event["output"]["content"]
            if "\n" in text:
                return text.partition("\n")[0]
        raise AssertionError(f"no line, only {text!r}")

    def shown(self, run, text):
        """Wait until a run has written a text; an engine may have something to say before."""
        seen = ""
        for event in self.events(run):
            seen += event.get("output", {}).get("content", "")
            if text in seen:
                return
        raise AssertionError(f"no {text!r}, only {seen!r}")


def until(condition, seconds=PATIENCE):
    """Wait until a condition of another process holds and return what it gave; ask less often the longer it takes."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, "it did not come to pass"
        time.sleep(min(max(waited / 10, 0.01), 0.05 if waited < 2 else 0.1))  # with a fast clock a state may last 0.1 s
    return found


def moment(text):
    """Return the moment that a text of an answer names. Python 3.10 reads no Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.fixture(name="until")
def until_fixture():
    return until


@pytest.fixture(scope="session")
def api(cloud):
    """The local cloud that all tests of a worker share."""
    connected = Api(cloud)
    yield connected
    connected.http.close()


@pytest.fixture
def make_api(make_cloud):
    """Start a fresh local cloud with options."""
    made = []

    def make(*options):
        made.append(Api(make_cloud(*options)))
        return made[-1]

    yield make
    for connected in made:
        connected.http.close()


@pytest.fixture
def make_person(cloud):
    """Add users to the local cloud that all tests of a worker share."""
    from localcloud.people import Person  # noqa: PLC0415 (it needs this module)

    made = []

    def make(email=None):
        made.append(Person.added(cloud, email))
        return made[-1]

    yield make
    for person in made:
        person.close()


@pytest.fixture(scope="session")
def person(cloud):
    """A user beside the local one, for tests that leave the account as it is."""
    from localcloud.people import Person  # noqa: PLC0415 (it needs this module)

    added = Person.added(cloud)
    yield added
    added.close()


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """An image of a few programs, made here and imported into Podman; nothing is pulled."""
    from localcloud import containers  # noqa: PLC0415 (most tests need none)

    name = containers.make_image(tmp_path_factory.mktemp("image"))
    yield name
    containers.podman("rmi", "--force", name)
