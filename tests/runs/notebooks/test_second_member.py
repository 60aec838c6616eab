"""Another member of the organization, and another user of the machine: what they read and enter of one's own servers.

The member is played with plain requests: reads every record and list, and tries every word in them as a credential.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress

import httpx
import pytest
from localcloud.conftest import description, until
from localcloud.people import Person
from patience import PATIENCE
from websockets.sync.client import connect

import lk_jupyter
from lk_jupyter.runs.notebooks import warm_python

pytestmark = pytest.mark.xdist_group("hosted")

ATTACK = """
from IPython.display import HTML, display
shell = get_ipython()
shell.events.register("post_execute", lambda: display(HTML("<img src=x onerror=alert(1)>")))
print("stolen", x)
"""


@pytest.fixture
def owner(hosting, home, monkeypatch):
    """The owner of servers, whose journal and keys are empty."""
    monkeypatch.setenv("LK_BASE_URL", hosting.base_url)
    monkeypatch.setenv("LK_API_KEY", hosting.api_key)
    with lk_jupyter.connect() as session:
        yield session
        for warm in [*warm_python._open.values()]:
            warm.close()
        for run in hosting.client.workloads.list():
            hosting.client.workloads.abort(run.execution_id)
        until(lambda: not hosting.client.workloads.list())


@pytest.fixture
def member(hosting):
    """A plain member of the owner's organization."""
    (slug,) = [row["slug"] for row in hosting.http.get("/orgs").json() if row["is_default"]]
    with Person.added(hosting) as person:
        added = hosting.http.post(f"/orgs/{slug}/members", json={"email": person.email, "role": "member"})
        assert added.json() == {"status": "added"}
        yield person.acting_as(slug)


def words_of(value):
    """Return every word of a record that may be a credential: complete texts, and what their signs separate."""
    return {value, *re.split(r"[\s=,\"'\[\]{}\\]+", value), *re.split(r"[\s=:,\"'\[\]{}\\]+", value)} - {""}


def texts_for(member, run_id):
    """Return all that a member reads about a run and the organization: every list and record, the log, the bucket."""
    slug = member.http.headers["X-Org-Slug"]
    found = []
    with httpx.Client(base_url=member.http.base_url, headers=member.http.headers, timeout=PATIENCE) as http:
        for path, methods in description()["paths"].items():
            if "get" in methods and set(re.findall("{(.*?)}", path)) <= {"execution_id", "slug"}:
                found.append(http.get(path.format(execution_id=run_id, slug=slug)))
        keys = [listed["key"] for listed in http.get("/storage/list-files").json()]
        found += [http.get(f"/storage/download/{key}") for key in keys]
    assert {f"/api/v2/external/execution/{run_id}", "/api/v2/external/workloads/list"} <= {
        answer.url.path for answer in found if answer.is_success
    }
    return [answer.text for answer in found if answer.is_success]


def readable_words(member, run_id):
    """Return the words of all that a member reads of a run."""
    return set().union(*(words_of(part) for text in texts_for(member, run_id) for part in parts_of(text)))


def parts_of(value):
    """Yield the texts in JSON, at any depth; a text that is no JSON as a text."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from parts_of(inner)
    elif value is not None:
        yield str(value)


def headers_of_member(url, word):
    """Return the headers with which a word enters a server, as a token or as a password; None where it doesn't."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as http:
        for headers in ({"Authorization": f"token {word}"}, {"Authorization": f"Bearer {word}"}):
            if http.get("api/kernels", headers=headers).is_success:
                return headers
        if http.get("api/kernels", params={"token": word}).is_success:
            return {"Authorization": f"token {word}"}
        form = {"password": word, "_xsrf": http.cookies.get("_xsrf") or http.get("login").cookies.get("_xsrf", "")}
        http.post("login", data=form)
        if http.get("api/kernels").is_success:
            return {"Cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}
    return None


def entered(member, run_id):
    """Try all that a member can read at all doors of a server; return the headers that open it."""
    url = f"{member.cloud.base_url}/ports/{run_id}/8888/"
    return next(filter(None, (headers_of_member(url, word) for word in likely(readable_words(member, run_id)))), None)


def likely(words):
    """Return the words that are long enough for a secret, in ASCII; headers take no others."""
    return sorted(word for word in words if 16 <= len(word) <= 300 and word.isascii() and word.isprintable())


def execute(member, run_id, headers, code):
    """Execute code in the only kernel of a server and return what it prints."""
    url = f"{member.cloud.base_url}/ports/{run_id}/8888/"
    kernel = httpx.get(f"{url}api/kernels", headers=headers).json()[0]["id"]
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    header = {"msg_id": "m", "msg_type": "execute_request", "session": "m", "username": "", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    with connect(f"ws{url.removeprefix('http')}api/kernels/{kernel}/channels", additional_headers=headers) as socket:
        socket.send(json.dumps(message))
        while True:
            said = json.loads(socket.recv(timeout=PATIENCE))
            if said["header"]["msg_type"] in {"stream", "error"}:
                return said["content"].get("text") or said["content"]["evalue"]


def test_a_member_who_reads_the_record_enters_no_session_and_reads_no_variable(owner, member):
    warm = owner.warm_python("train", machine="cpu")
    warm.run_code("x = 'a value of the owner'")
    run_id = warm.run.execution_id
    headers = entered(member, run_id)
    stolen = headers and execute(member, run_id, headers, ATTACK)
    shown = warm.run_code("print('on')").displays
    assert (stolen, shown) == (None, [])
