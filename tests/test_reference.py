"""The reference: every public name is described completely, and its examples run."""

from __future__ import annotations

import builtins
import doctest
import inspect
import re
import time
from dataclasses import fields, is_dataclass
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import nbformat
import pytest
from conftest import for_each
from nbformat.v4 import new_code_cell, new_notebook
from pydantic import BaseModel

import lk_jupyter
from lk_jupyter import _docs, errors
from lk_jupyter.account.spending import Spending, read_spending
from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.api.auth import LoginRequest
from lk_jupyter.api.inference import CreateDeploymentRequest, StopDeploymentRequest
from lk_jupyter.runs.fanout.comparison import MemberResult, build_table
from lk_jupyter.runs.metrics.metrics import Overlay, overlay, read
from lk_jupyter.runs.package import checkpoint

pytestmark = [pytest.mark.xdist_group("reference"), pytest.mark.timeout(300)]

PASSWORD = "correct horse"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
GROUPS = _docs.groups()


@pytest.fixture(scope="module")
def client(cloud):
    with Client(cloud.base_url, cloud.api_key) as client:
        yield client


@pytest.fixture
def sign_up(cloud):
    """A function that makes a user and signs in as it; each client is closed after the test."""
    opened = []

    def make(email):
        cloud.add_user(email, PASSWORD)
        with Client(cloud.base_url) as visitor:
            pair = visitor.auth.login(LoginRequest(email=email, password=PASSWORD))
        client = Client(cloud.base_url, pair.access_token, refresh_token=pair.refresh_token)
        client.email, client.id, client.password = email, pair.user_id, PASSWORD
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def known(cloud, client, sign_up):
    """What the examples know, made when one names it."""

    steps = iter((-30, 0, 30))  # no code is taken twice

    def mailed_token(invite):
        mail = (cloud.data / "mail" / f"{invite.id}.txt").read_text()
        return re.search(r"token: (\S+)", mail)[1]

    def next_code(app):
        return app.at(time.time() + next(steps))

    names = {
        "api_key": cloud.api_key,
        "client": client,
        "mailed_token": mailed_token,
        "next_code": next_code,
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample user@host",
        "secret": "v4lue",
        "sign_up": sign_up,
    }
    return SimpleNamespace(names=names, other=lambda: sign_up(f"{uuid4().hex[:12]}@example.com"))


def run_examples(text, names, name):
    """Run the examples of a docstring; a difference is a failure with its text."""
    test = doctest.DocTestParser().get_doctest(text, dict(names), name, None, 0)
    told = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=told.append)
    assert test.examples
    assert not told, "".join(told)


@pytest.mark.parametrize("name", GROUPS)
def test_the_example_of_a_group_of_operations_runs(name, known, client):
    text, names = _docs.example(GROUPS[name]), known.names
    if "other." in text:
        names["other"] = known.other()
    if "deployment" in re.findall(r"\bmodel=(\w+)", text):
        names["deployment"] = client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo")).deployment_id
    run_examples(text, names, name)
    if "deployment" in names:
        client.inference.stop(StopDeploymentRequest(deployment_id=names["deployment"]))


@for_each(GROUPS)
def test_the_example_of_a_group_calls_each_of_its_operations(name):
    text = _docs.example(GROUPS[name])
    operations = [endpoint.name for endpoint in _docs.operations(GROUPS[name])]
    assert [each for each in operations if not re.search(rf"\.{name}\.{each}\b", text)] == []


@for_each([row for kind in GROUPS.values() for row in _docs.operations(kind)], lambda row: row.title)
def test_an_operation_has_described_arguments_and_errors_that_exist(endpoint):
    assert [row.name for row, text in _docs.arguments(endpoint) if not text] == []
    assert [name for name in _docs.raised(endpoint) if not hasattr(errors, name)] == []
    assert endpoint.__doc__


def test_the_operations_that_are_refused_without_credits_are_marked_as_spending_and_no_others():
    need_credits = {endpoint.title for endpoint in ENDPOINTS if "PaymentRequired" in _docs.raised(endpoint)}
    assert need_credits == {endpoint.title for endpoint in ENDPOINTS if endpoint.effect == "spends"}


@for_each(_docs.models())
def test_a_model_of_the_client_says_what_it_is(kind):
    assert kind.__doc__
    assert kind.__doc__ != BaseModel.__doc__


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("name", [*_docs.PUBLIC, "checkpoint"])
def test_the_examples_of_a_public_name_run(name, known, request, monkeypatch, tmp_path):
    cloud = request.getfixturevalue("hosting" if name == "WarmPython" else "cloud")
    thing = _docs.PUBLIC.get(name, checkpoint)
    texts = {owner: _docs.example(part) for owner, part in _docs.parts(name, thing)}
    monkeypatch.setenv("LK_BASE_URL", cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", cloud.api_key)
    monkeypatch.chdir(tmp_path)
    Path("notebook.ipynb").write_text(nbformat.writes(new_notebook(cells=[new_code_cell("print(6 * 7)")])))
    names = {"lk_jupyter": lk_jupyter, "notebook": "notebook.ipynb", **known.names}
    with lk_jupyter.connect() as session:
        for owner, text in texts.items():
            if text:
                run_examples(text, {**names, "session": session}, owner)


MEMBERS = [(owner, part, thing) for name, thing in _docs.PUBLIC.items() for owner, part in _docs.parts(name, thing)]


@for_each(MEMBERS, itemgetter(0))
def test_a_public_name_says_what_it_takes_and_returns_and_shows_it(member):
    owner, part, thing = member
    said, name = inspect.getdoc(part) or "", owner.rpartition(".")[2]
    assert said
    assert [
        argument for argument in _docs.takes(part) if not re.search(rf"^ {{4}}{argument}: ", said, re.MULTILINE)
    ] == []
    text = _docs.example(part) or _docs.example(thing)
    assert text if part is thing else re.search(rf"\b{name}\b", text), "no example"
    named = re.findall(r"^ {4}(\w+): ", _section(said, "Raises"), re.MULTILINE)
    assert [error for error in named if not _is_error(error)] == []
    for method, path in re.findall(r"``([A-Z]+) (/[^`]+)``", said.partition("Source: ")[2]):
        assert any((row.method, row.path) == (method, path) for row in ENDPOINTS) or path == "/v1/messages"


def _section(said, head):
    return said.partition(f"{head}:\n")[2].partition("\n\n")[0]


def _is_error(name):
    return hasattr(errors, name) or hasattr(builtins, name)


def _found(part):
    """The annotations of what people get from a public name, as text: results and fields."""
    function = part.fget if isinstance(part, property) else getattr(part, "func", part)
    rows = inspect.get_annotations(function).items()
    wanted = [text for name, text in rows if (inspect.isclass(part) and name[0] != "_") or name == "return"]
    return " ".join(map(str, wanted))


#: Names in annotations that aren't ours, or that another name describes.
PLAIN = {"Any", "ClassVar", "Decimal", "Dict", "Iterator", "List", "Mapping", "None", "Path", "Sequence"}
PLAIN |= {"Connection", "CostIs", "Point", "StreamEvent"}


def test_a_class_that_a_public_name_returns_is_public_too():
    known = PLAIN | {*_docs.PUBLIC, *(kind.__name__ for kind in [*_docs.models(), *GROUPS.values()])}
    rows = {owner: set(re.findall(r"\b[A-Z]\w+", _found(part))) - known for owner, part, _ in MEMBERS}
    assert {name: missing for name, missing in rows.items() if missing} == {}


DATA = [name for name, thing in _docs.PUBLIC.items() if inspect.isclass(thing) and is_dataclass(thing)]


@for_each(DATA)
def test_the_fields_of_a_public_class_are_described(name):
    said = inspect.getdoc(_docs.PUBLIC[name])
    assert [field.name for field in fields(_docs.PUBLIC[name]) if f"``{field.name}``" not in said] == []


def _kinds(frame):
    """Name → dtype of the columns and the index of a DataFrame, in the words of the reference."""
    rows = {**frame.dtypes.to_dict(), frame.index.name: frame.index.dtype}
    words = {name: re.sub(r"\[\w+", "", str(dtype)).rstrip("]") for name, dtype in rows.items()}
    return {name: "str" if word in {"object", "string"} else word for name, word in words.items()}


def _described_kinds(documented):
    rows = re.findall(r"``(\w+)``\s+\((\w+64(?:,\s+UTC)?|str)\b", inspect.getdoc(documented))
    return {name: " ".join(kind.split()) for name, kind in rows}


@pytest.fixture(scope="module")
def tables(cloud):
    """Tables of each kind: with rows, with rows that lack figures, and without rows."""
    session = lk_jupyter.connect(cloud.base_url, cloud.api_key)
    run = session.run("print(1)", gpu="A100")
    run.wait()
    fan = session.fan_out("print('loss =', x)", sweep=["x=1,2"], metric=["loss"])
    fan.wait()
    unbilled = MemberResult(1, "gpu.a100", {"x": 1}, "failed")
    yield {
        "Session.history": [session.history(), session.history(label=["none"])],
        "FanOut.table": [fan.table(), build_table([unbilled], fan.scores), build_table([], [])],
        "Metrics.df": [read(run).df],
        "Overlay.df": [overlay(run, fan.members[0].run).df, Overlay(()).df],
        "Spending.df": [read_spending(session).df, Spending((), 7).df],
    }
    session.close()


@pytest.mark.parametrize("name", ["Session.history", "FanOut.table", "Metrics.df", "Overlay.df", "Spending.df"])
def test_a_table_has_the_columns_and_dtypes_that_the_reference_describes(name, tables):
    owner, _, member = name.partition(".")
    described = _described_kinds(getattr(_docs.PUBLIC[owner], member))
    assert described
    for frame in tables[name]:
        found = {column: kind for column, kind in _kinds(frame).items() if column in described}
        assert {"cost_is": "str", **found} == {"cost_is": "str", **described}


SPENDING = ["Session.run", "Session.run_image", "Session.run_compose", "Session.run_notebook", "Session.start_notebook"]
SPENDING += ["Session.fan_out", "Executor.submit", "Executor.map", "openai", "anthropic"]


@pytest.mark.parametrize("name", SPENDING)
def test_a_public_name_that_spends_credits_says_so(name):
    owner, _, part = name.rpartition(".")
    thing = _docs.PUBLIC[owner or part]
    assert "Cost: " in inspect.getdoc(getattr(thing, part) if owner else thing)
