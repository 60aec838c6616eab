"""Another member of the organization, and another user of the machine: what they read and enter of one's own servers.

The member is played with plain requests: reads every record and list, and tries every word in them as a credential.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import socket
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import httpx
import nbformat
import numpy as np
import pyarrow as pa
import pytest
from localcloud.conftest import description, until
from localcloud.people import Person
from localcloud.test_other_user import IS_ROOT, command_lines
from nbformat import v4
from patience import PATIENCE
from serverext.conftest import running
from storage.test_hostile_preview import FORGED as FORGED_ARROW
from storage.test_hostile_preview import TEXTS, gif, jpeg, png, written
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import lk_jupyter
from lk_jupyter.api.hosted_channel import Channel
from lk_jupyter.config.files import config_file, platform_path
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import InvalidResponse, UsageError
from lk_jupyter.options.runs import RunOptions, ServerOptions
from lk_jupyter.runs.notebooks import servers, warm_python
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.runs.notebooks.servers import (
    connect_server,
    idle_seconds,
    read_password,
    read_token,
    start_server,
    stop_server,
    wait_for_server,
)
from lk_jupyter.runs.notebooks.session_machine import prepare_warm_python
from lk_jupyter.runs.notebooks.warm_python import WarmPython
from lk_jupyter.runs.notebooks.warm_pythons import list_warm_pythons, stop_warm_python
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit import upload
from lk_jupyter.storage.preview import preview, preview_content
from lk_jupyter.text import secrets as secrets_in_use

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
        for warm in [*warm_python.connected_warm_pythons.values()]:
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


def likely(member, run_id):
    """Return the words about a run that are long enough for a secret, in ASCII; headers take no others."""
    texts = [text for text in texts_for(member, run_id) if run_id in text]
    words = set().union(*(words_of(part) for text in texts for part in parts_of(text)))
    return sorted(word for word in words if 16 <= len(word) <= 200 and word.isascii() and word.isprintable())


def entered(url, words):
    """Try words as the token and as the password of a server; return the headers that open it, or None."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as http:
        xsrf = http.get("login").cookies.get("_xsrf", "")
        for word in words:
            headers = {"Authorization": f"token {word}"}
            if http.get("api/kernels", headers=headers).is_success:
                return headers
            if http.post("login", data={"password": word, "_xsrf": xsrf}).is_redirect:
                return {"Cookie": "; ".join(f"{name}={value}" for name, value in http.cookies.items())}
    return None


def execute(url, headers, code):
    """Execute code in the only kernel of a server and return what it prints."""
    kernel = httpx.get(f"{url}api/kernels", headers=headers).json()[0]["id"]
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    header = {"msg_id": "m", "msg_type": "execute_request", "session": "m", "username": "", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    with connect(f"ws{url.removeprefix('http')}api/kernels/{kernel}/channels", additional_headers=headers) as socket:
        socket.send(json.dumps(message))
        while True:
            received = json.loads(socket.recv(timeout=PATIENCE))
            if received["header"]["msg_type"] in {"stream", "error"}:
                return received["content"].get("text") or received["content"]["evalue"]


def url_of(owner, run):
    """Return the address of the server of a run."""
    return f"{owner.base_url}/ports/{run.execution_id}/8888/"


# What a member of the organization reads and enters


@pytest.mark.nightly  # another user: below
def test_a_member_who_reads_the_record_enters_no_session_and_reads_no_variable(owner, member):
    token = uuid4().hex
    set_variable = member.post("/environment-variables/", {"name": "JUPYTER_TOKEN", "value": token})
    assert set_variable.is_success  # every container has it
    warm = owner.warm_python("train", machine="cpu")
    warm.run_code("x = 'a value of the owner'")
    words = [token, *likely(member, warm.run.execution_id)]
    assert [word for word in words if word.startswith("sha256:")]
    headers = entered(url_of(owner, warm.run), words)
    stolen = headers and execute(url_of(owner, warm.run), headers, ATTACK)
    shown = warm.run_code("print('on')").displays
    assert (stolen, shown) == (None, [])
    member.delete("/environment-variables/")


def start_kernel(session):
    """Start the server of a kernel, as the provisioner of ``%lk_kernel`` does."""
    kernel = HostedKernel.start(session, ServerOptions(machine="cpu"), threading.Event())
    kernel.server.close()
    return kernel.run


def start_notebook(session):
    """Start the server of ``%lk_notebook`` and wait until it answers."""
    run = start_server(session, ServerOptions(machine="cpu"))
    wait_for_server(run).close()
    return run


@pytest.mark.nightly  # a session: above
@pytest.mark.parametrize("start", [start_kernel, start_notebook])
def test_a_member_who_reads_the_record_enters_no_kernel_and_no_notebook_server(owner, member, start):
    run = start(owner)
    url = url_of(owner, run)
    assert entered(url, likely(member, run.execution_id)) is None
    for path in ("api/kernels", "api/contents", "api/sessions", "api/terminals"):
        assert httpx.get(url + path).status_code in {403, *({404} if "terminals" in path else {})}  # an extra has those
    for path in ("api/kernels/k/channels", "terminals/websocket/1"):
        with pytest.raises(InvalidStatus, match=r"40[34]"), connect(f"ws{url.removeprefix('http')}{path}"):
            pass
    with closing(connect_server(owner.get(run.execution_id))) as server:
        assert server.is_ready()  # its owner signs in


def test_a_members_copy_of_a_server_gets_no_password(owner, member):
    run = start_notebook(owner)
    record = member.get(f"/execution/{run.execution_id}").json()
    names = ("docker_image_ref", "docker_run_cmd", "metadata", "job_type", "run_name")
    copy = {name: record.get(name) for name in names if record.get(name)}
    answer = member.post("/execution/image/start", {**copy, "metadata": dict(run.bundle.request.metadata)})
    copied = answer.json()["execution_id"]
    until(lambda: member.get(f"/execution/{copied}").json()["status"] == "running")
    with pytest.raises(UsageError, match=f"Run {copied[:8]} was started on another machine or by another member"):
        connect_server(Run.attach(owner, copied))


def test_another_machine_of_the_owner_stops_a_server_but_does_not_enter_it(owner, monkeypatch, tmp_path):
    run = start_notebook(owner)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("HOME", str(tmp_path / "elsewhere"))
        found = Run.attach(owner, run.execution_id)
        with pytest.raises(UsageError, match=f"Open it there, or stop it: %lk_abort {run.short_id}"):
            connect_server(found)
        stop_server(found)
    assert run.status == "cancelled"


def test_a_session_of_an_earlier_version_is_refused_with_the_way_to_stop_it(owner, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(
            servers, "_build_command", lambda _: ["start-notebook.sh", "--NotebookApp.token=token-of-the-record"]
        )
        old = prepare_warm_python(owner, RunOptions(session="old", machine="cpu"))
    run_id = Run.submit(owner, old).execution_id
    with pytest.raises(UsageError, match=f"by an earlier version .* each member .* Stop it: %lk_abort {run_id[:8]}"):
        owner.warm_python("old")
    assert [name for name, _ in list_warm_pythons(owner)] == ["old"]
    assert idle_seconds(Run.attach(owner, run_id)) is None
    assert stop_warm_python(owner, "old", stop_server).status == "cancelled"


def test_a_server_that_asks_for_no_password_gets_none_and_is_not_used(owner, monkeypatch):
    ignored = ["start-notebook.sh", "--ServerApp.token="]
    monkeypatch.setattr(servers, "_build_command", lambda hashed: [*ignored, f"--Unknown.password={hashed}"])
    run = start_server(owner, ServerOptions(machine="cpu"))
    with pytest.raises(InvalidResponse, match=r"has no password.*Nothing was sent"):
        wait_for_server(run)


# What arrives from a session


FORGED = """
from IPython.display import HTML, display
vars(get_ipython().kernel.session).pop("serialize")
display(HTML("<img src=x onerror=alert(1)>"))
display("text", display_id="d").update(HTML("<b>later</b>"))
HTML("<b>last</b>")
"""


def test_what_a_session_has_not_signed_is_shown_as_text_and_sets_no_variable(owner):
    warm = owner.warm_python("train", machine="cpu")
    signed = warm.run_code("from IPython.display import HTML\nHTML('<b>mine</b>')")
    assert signed.displays[0]["text/html"] == "<b>mine</b>"
    forged = warm.run_code(FORGED)
    assert [set(data) for data in forged.displays] == [{"text/plain"}] * 3
    assert forged.notices == ["⚠ 3 outputs aren't signed by the session, so only the text was shown."]
    warm.run_code("from _lk.script import session; session._settings['key'] = b'another'")
    with pytest.raises(InvalidResponse, match=r"has no valid signature\. No variable was set\."):
        warm.run_code("x = 1", outputs=["x"])


def test_a_signature_of_another_request_kind_or_session_is_none(owner):
    warm = owner.warm_python("train", machine="cpu")
    warm.prepare()
    asked = warm.execute("from IPython.display import HTML, display\ndisplay(HTML('<b>mine</b>'))")
    (message,) = [found for found in asked.messages() if found and found["header"]["msg_type"] == "display_data"]
    assert warm.verified(message) == message["content"]
    text = {"data": {"text/plain": message["content"]["data"]["text/plain"]}, "metadata": {}}
    assert warm.verified({**message, "parent_header": {"msg_id": "another"}}) == text
    assert warm.verified({**message, "header": {"msg_type": "update_display_data"}}) is None
    assert warm.verified({**message, "metadata": {}}) == text
    assert warm.verified({**message, "metadata": None, "content": "odd"}) is None
    with closing(Channel(warm._kernel.server, warm._kernel.kernel_id, str)):
        other = SimpleNamespace(_key=signing_key("session another"))
        assert WarmPython.verified(other, message) == text


# What a member puts into the bucket


def hostile_files():
    """Return files that crash, fill or mislead their reader, and the start of the answer to each."""
    source = {"cell_type": "code", "source": "a\ud800<img src=x onerror=alert(1)>", "outputs": [{"data": ATTACK}]}
    names = pa.schema([pa.field("", pa.null())] * 200_000)
    wide, deep = io.BytesIO(), b"[" * 800 + b"1," * 30_000 + '"😀"'.encode() + b"]" * 800
    pa.ipc.new_file(wide, names).close()
    too_much = "Can't preview '{}': it needs more than 250 MB of memory"
    return {
        "crash.arrow": (FORGED_ARROW, "Can't read this as arrow: In column 0: Invalid: Offset"),
        "bomb.arrow": (written(pa.table({"x": np.zeros(40_000_000)}), compression="zstd"), too_much),
        "bomb.csv.gz": (gzip.compress(b"a,b\n" + bytes(100_000_000), 1), "Table, 2 columns"),
        "wide.arrow": (wide.getvalue(), "Table, 200,000 columns"),
        "wide.csv": (b"a," * 16_000 + b"\n" + b"x\n" * 16_000, "Table, 16,001 columns"),
        "deep.json": (deep, "Text"),
        "half.ipynb": (json.dumps({"cells": [source]}).encode(), "A notebook, 1 cell,"),
        "bomb.ipynb": (b'{"cells": [' + b"[]," * 1_300_000 + b"[]]}", "Can't read this as ipynb"),
        "bomb.png": (png(60_000, 60_000), "Image of 60,000 by 60,000 pixels"),
        "bomb.gif": (gif((1, 1), (60_000, 60_000)), "Image of 60,000 by 60,000 pixels"),
        "bomb.jpg": (
            jpeg(60_000, 60_000, b"\xff"),
            "The image file (22 B) doesn't state the width and height of the image",
        ),
    }


def restart_peak(pid):
    """Set the peak of the memory of a process to what it has now, and return that in kB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_memory(pid)


def peak_memory(pid):
    """Return the most memory that a process has had, in kB."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0])


@pytest.mark.nightly  # tests/storage
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured on Linux only")
def test_files_of_a_member_neither_end_nor_fill_the_server_and_the_kernel_that_preview_them(owner, member, tmp_path):
    files = hostile_files()
    for name, (content, _) in {**files, "honest.arrow": (TEXTS, "")}.items():
        stored = member.http.post("/storage/upload", params={"key": f"previews/{name}"}, files={"file": content})
        assert stored.is_success
    signed_in = {"LK_BASE_URL": owner.base_url, "LK_API_KEY": owner.target.key.token}
    with running(tmp_path, **signed_in) as jupyter:

        def preview_in_server(name):
            answer = jupyter.get("storage/preview", params={"key": f"previews/{name}"})
            assert answer.status_code == 200, (name, answer.text)
            return answer.json()

        def preview_in_kernel(name):
            seen = preview(owner.storage, f"previews/{name}")
            assert seen.image == b""
            return json.loads(json.dumps(preview_content(seen), ensure_ascii=False, default=bytes.decode).encode())

        for show, pid in ((preview_in_server, jupyter.pid), (preview_in_kernel, os.getpid())):
            assert show("honest.arrow")["rows"] == [["a"], ["bc"], ["def"]]
            for name, (_, words) in files.items():
                before = restart_peak(pid)
                seen = show(name)
                assert seen["words"].startswith(words.format(name)), name
                assert "onerror" not in seen["words"]
                assert peak_memory(pid) - before < 50_000, name  # kB
                assert show("honest.arrow")["rows"] == [["a"], ["bc"], ["def"]]
    member.delete("/storage/delete-folder/previews")


# Every secret in use


def book(folder):
    """Write a notebook with a parameter, and return its path."""
    notebook = v4.new_notebook(cells=[v4.new_code_cell("password = ''", metadata={"tags": ["parameters"]})])
    nbformat.write(notebook, folder / "book.ipynb")
    return str(folder / "book.ipynb")


@pytest.mark.nightly
def test_a_member_finds_none_of_the_secrets_in_use_in_any_record_list_log_or_object(
    owner, member, monkeypatch, tmp_path
):
    links, plain_links = [], upload.upload_links

    def upload_links(*arguments):
        links.append(plain_links(*arguments))
        return links[-1]

    monkeypatch.setattr(upload, "upload_links", upload_links)
    keys_of_amazon = {"AWS_ACCESS_KEY_ID": "AKIAOFTHEREGISTRY", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-registry"}
    for name, value in keys_of_amazon.items():
        monkeypatch.setenv(name, value)
    warm = owner.warm_python("train", machine="cpu")
    warm.run_code("y = x + [2]", inputs={"x": [1]}, outputs=["y"])
    warm.run_code("x.append(3)", inputs={"x": [1]}, carry=True)
    run = owner.run("y = len(x)", inputs={"x": bytes(200_000)}, outputs=["y"], machine="cpu")
    run.wait(timeout=PATIENCE)
    executed = owner.run_notebook(book(tmp_path), parameter={"password": "a-parameter-of-the-owner"}, machine="cpu")
    image = owner.run_image("1.dkr.ecr.eu-west-1.amazonaws.com/image:1", "true", login="aws", machine="cpu")
    notebook = start_notebook(owner)
    saved = json.loads(platform_path("data", "sessions.json").read_text())["train"]["key"]
    keys = [
        signing_key(f"session {read_token(warm.run)}").hex(),
        config_file().with_name("signing.key").read_bytes().hex(),
    ]
    in_links = re.findall("X-Amz-Signature=([0-9a-f]+)", str(links))
    secrets = [owner.target.key.token, read_password(warm.run), read_password(notebook), saved, *keys, *in_links]
    secrets += [*keys_of_amazon.values(), *secrets_in_use.in_use]
    assert len(in_links) >= 4
    secrets.append("a-parameter-of-the-owner")
    runs = (warm.run, run, image, notebook, executed)
    texts = "\n".join(text for found in runs for text in texts_for(member, found.execution_id))
    assert warm.run.execution_id in texts
    assert [secret for secret in secrets if secret in texts] == []


# Another user of the machine


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user, and only where there is fork")
def test_another_user_of_the_machine_sees_no_password_and_enters_no_server(owner, as_another_user):
    warm = owner.warm_python("train", machine="cpu")
    warm.run_code("x = 1")
    notebook = start_notebook(owner)
    shown = as_another_user(command_lines)
    key = signing_key(f"session {read_token(warm.run)}").hex()
    passwords = [read_password(warm.run), read_password(notebook)]
    assert [secret for secret in (*passwords, key) if secret in shown] == []
    assert as_another_user(statuses, [url_of(owner, run) for run in (warm.run, notebook)]) == [403, 403]
    files = [config_file().with_name("signing.key"), platform_path("data", "sessions.json")]
    assert [oct(path.stat().st_mode & 0o077) for path in files] == ["0o0", "0o0"]


def statuses(urls):
    """Return the statuses of requests that aren't signed in."""
    found = []
    for url in urls:
        host, port = re.findall(r"//(.+?):(\d+)", url)[0]
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            path = url.partition(port)[2]
            connection.sendall(f"GET {path}api/kernels HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            found.append(int(connection.recv(100).split()[1]))
    return found
