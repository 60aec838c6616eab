import pandas as pd
import pytest

import lk_jupyter
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import DockerOptions, RunOptions
from lk_jupyter.runs.containers.containers import prepare_image
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.package.secret_scan import require_consent, scan_run, scan_variable
from lk_jupyter.runs.variables.payload import VariablePayload

KEY = "lk_" + "3fA9" * 8
TOKEN = "ghp_" + "a1" * 18
KIND = "API key of Lyceum Cloud"


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as session:
        yield session


@pytest.fixture
def found(session, tmp_path):
    def found(code="print(1)", **options):
        package = prepare(session, Source(code, "cell.py", 2, tmp_path), RunOptions(**options))
        return list(map(str, package.secrets))

    return found


def test_a_secret_in_the_code_is_named_by_the_line_of_the_cell_and_its_kind(found):
    assert found(f"import os\nkey = '{KEY}'\nother = '{TOKEN}'") == [f"line 3 ({KIND})", "line 4 (GitHub token)"]


def test_a_secret_in_a_shipped_file_is_named_by_its_file(found, tmp_path):
    (tmp_path / "helper.py").write_text(f"\nKEY = '{KEY}'\n")
    (tmp_path / "notes.txt").write_text(TOKEN)
    assert found("import helper", files=["*.txt"]) == [
        f"helper.py line 2 ({KIND})",
        "notes.txt line 1 (GitHub token)",
    ]


def test_a_secret_in_a_file_beside_the_folder_is_found(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "notes.txt").write_text(TOKEN)
    payload, code = (
        VariablePayload(settings={"carry": 1}),
        Source("open('../notes.txt')", "cell.py", 1, tmp_path / "work"),
    )
    package = BundleBuilder(
        code, RunOptions(rich=True), MachineType(hardware_profile="a"), Limits(60, 600), payload=payload
    ).build()
    assert list(map(str, scan_run(package))) == ["../notes.txt line 1 (GitHub token)"]


def test_secrets_in_the_words_that_go_along_are_found(found):
    assert found("print(x)", label=["x"]) == []
    words = {"label": ["a", KEY], "arg": ["--token", TOKEN], "metadata": {"who": KEY}, "name": KEY}
    assert {shown.partition(" ")[0] for shown in found(**words)} == {"--label", "--arg", "--metadata['who']", "--name"}


def test_a_package_index_with_a_password_is_found(found, tmp_path):
    (tmp_path / "requirements.txt").write_text("--index-url https://me:hunter2@packages.test/simple\nnumpy\n")
    assert found(requirements=["requirements.txt"]) == ["-r line 1 (password in a URL)"]


def test_the_key_in_use_is_found_whatever_its_shape(found, session):
    assert found(f"x = '{session.target.key.token}'")


def test_off_finds_nothing(found, monkeypatch):
    monkeypatch.setenv("LK_SECRET_GUARD", "off")
    assert found(f"key = '{KEY}'") == []


def test_python_refuses_and_says_what_to_do_without_the_secret(session):
    before = session.client.billing.history(limit=1).total
    with pytest.raises(UsageError) as refused:
        session.run(f"print('{KEY}')")
    said = str(refused.value)
    assert f"line 1 ({KIND})" in said
    assert "Nothing was sent" in said
    assert "%lk_secrets set NAME" in said
    assert "allow_secrets=True" in said
    assert KEY[3:] not in said
    assert session.client.billing.history(limit=1).total == before


def test_python_may_allow_it(session):
    run = session.run(f"print('{KEY}')", allow_secrets=True)
    assert run.result().stdout == f"{KEY}\n"


def test_the_recommended_way_works(session):
    session.client.environment_variables.upsert({"name": "MY_TOKEN", "value": KEY})
    run = session.run("import os; print(len(os.environ['MY_TOKEN']))")
    assert run.result().stdout == f"{len(KEY)}\n"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (KEY, "variable x"),
        (KEY.encode(), "variable x"),
        ([1, (2, KEY)], "variable x"),
        ({"a": {"b": [KEY]}}, "variable x['a']['b']"),
        ({KEY: 1}, "a key of variable x"),
        ({KEY: {"b": TOKEN}}, "variable x['b']"),
        (pd.DataFrame({"n": [1, 2], "s": ["fine", KEY]}), "variable x['s']"),
    ],
)
def test_secrets_in_variables_are_found_at_any_depth(home, value, where):
    findings = scan_variable("x", value)
    assert where in [finding.where for finding in findings]
    assert KEY not in str(findings)


@pytest.mark.parametrize("value", [1, None, "lk_jupyter", {"a": [1.5]}, pd.DataFrame({"n": [1]}), object()])
def test_ordinary_variables_pass(home, value):
    assert scan_variable("x", value) == ()


def test_a_variable_that_holds_itself_is_looked_through_once(home):
    value = {"inner": [KEY]}
    value["self"] = value
    assert len(scan_variable("x", value)) == 1


def test_who_is_asked_decides(session, tmp_path):
    package = prepare(session, Source(f"k = '{KEY}'", folder=tmp_path), RunOptions())
    asked = []
    allowed = require_consent([package, package], lambda question: not asked.append(question))
    assert all(package.secrets_allowed for package in allowed)
    (question,) = asked
    assert "line 1" in question
    assert KEY not in question
    with pytest.raises(UsageError, match="Nothing was sent"):
        require_consent([package], lambda _: False)


def test_refuse_does_not_ask(session, tmp_path, monkeypatch):
    monkeypatch.setenv("LK_SECRET_GUARD", "refuse")
    package = prepare(session, Source(f"k = '{KEY}'", folder=tmp_path), RunOptions())
    with pytest.raises(UsageError, match="--allow-secrets"):
        require_consent([package], lambda _: True)


def test_an_object_that_has_every_attribute_and_cannot_be_searched_stops_nothing():
    class Lazy:
        def __getattr__(self, name):
            return self

        def __iter__(self):
            raise TypeError("unspecified length")

    class Broken(dict):
        def items(self):
            raise ValueError

    assert scan_variable("x", [Lazy(), Broken(a=1)]) == ()
    assert list(map(str, scan_variable("x", [Lazy(), Broken(), KEY]))) == [f"variable x ({KIND})"]


def test_a_variable_of_the_kernel_that_looks_like_a_secret_is_found(session, monkeypatch):
    values = {"WANDB_TOKEN": "ordinary words", "SHORT_KEY": "short", "PLAIN": "value", "SHAPED": f"hf_{'a1B2' * 9}"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    options = DockerOptions(image="python:3.11", env=[*values, "GIVEN_KEY=a literal"])
    found = prepare_image(session, Source("true"), options).secrets
    assert list(map(str, found)) == ["--env WANDB_TOKEN (named like a secret)", "--env SHAPED (Hugging Face token)"]


def test_a_variable_that_is_named_like_a_secret_and_may_be_one_is_found(home):
    assert list(map(str, scan_variable("hf_token", "q7fj20xwla"))) == ["variable hf_token (named like a secret)"]
    assert list(map(str, scan_variable("DB_PASSWORD", "tr0ub4dor&3"))) == ["variable DB_PASSWORD (named like a secret)"]
    for name, value in {
        "token": "running",
        "key": "column12",
        "tokens": "a1b2c3d4e5",
        "password": "two words 12",
    }.items():
        assert scan_variable(name, value) == ()
