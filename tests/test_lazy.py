"""Names that changed: the old one works for a release, and warns."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from lk_jupyter import errors
from lk_jupyter.account import spending as account_spending
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.config import settings
from lk_jupyter.config.files import CONFIG_FILE, write_json
from lk_jupyter.magics._engine.index import iterate_magics
from lk_jupyter.magics._engine.registry import magic_named
from lk_jupyter.options.runs import check, renamed_options
from lk_jupyter.storage import objects


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (errors, "BadAnswer", "InvalidResponse"),
        (errors, "DoesNotFit", "InsufficientMemory"),
        (objects, "Outcome", "TransferResult"),
    ],
)
def test_an_old_name_of_a_class_warns_and_is_the_class(module, old, new):
    with pytest.warns(FutureWarning, match=f"{old} is now {new}"):
        assert getattr(module, old) is getattr(module, new)


def test_a_name_that_never_was_is_still_none():
    with pytest.raises(AttributeError, match="NoSuchError"):
        _ = errors.NoSuchError


def test_an_old_name_of_an_attribute_warns_and_has_its_value():
    with pytest.warns(FutureWarning, match="runs_out is now depleted_at"):
        assert AccountBalance(Decimal(1)).runs_out is None


#: Old name, name and model of each option that was renamed.
RENAMED = [
    (old, new, model)
    for model in dict.fromkeys(magic.model for magic in iterate_magics())
    for old, new in renamed_options(model).items()
]
VALUES = {"metric": ["loss"], "stop_timeout": 20, "outputs": ["x"], "to_env": "KEY", "from_env": "KEY"}


def test_each_renamed_option_is_covered():
    assert {(old, new) for old, new, _ in RENAMED} == {
        ("plan", "dry_run"),
        ("score", "metric"),
        ("first", "stop_on_first"),
        ("strict", "require_all"),
        ("no_doctor", "no_hints"),
        ("grace", "stop_timeout"),
        ("new_login", "reset_password"),
        ("take", "outputs"),
        ("env", "to_env"),
        ("env", "from_env"),
    }


def test_the_old_function_for_spending_warns_and_reads_it():
    with pytest.warns(FutureWarning, match=r"is now session\.spending\(\)"):
        assert account_spending.spending is account_spending.read_spending


@pytest.mark.parametrize(("old", "new", "model"), RENAMED, ids=lambda value: getattr(value, "__name__", value))
def test_an_old_name_of_an_option_warns_and_sets_the_option(old, new, model):
    required = {name: "x" for name, field in model.model_fields.items() if field.is_required()}
    value = VALUES.get(new, True)
    with pytest.warns(FutureWarning, match=f"'{old}' is now '{new}'"):
        assert getattr(check(model, {**required, old: value}), new) == value


@pytest.mark.parametrize(
    ("magic", "line", "expected"),
    [
        ("lk_run", "--gpu A100 --plan --name=--plan", {"dry_run": True, "name": "--plan"}),
        ("lk_attach", "3f0c --take model,losses", {"outputs": ["model,losses"]}),
        ("lk_secrets set", "HF_TOKEN --env MINE", {"from_env": "MINE"}),
        ("lk_keys create", "laptop --env=KEY", {"to_env": "KEY"}),
    ],
)
def test_an_old_name_of_an_option_on_a_line_warns_and_sets_the_option(magic, line, expected):
    name, _, verb = magic.partition(" ")
    declared = magic_named(name)
    with pytest.warns(FutureWarning, match="is now"):
        options = (declared.verbs[verb] if verb else declared).parse(line)
    assert options.model_dump(include=set(expected)) == expected


def test_an_old_name_of_a_setting_warns_and_is_the_setting(monkeypatch, home):
    write_json(settings.config_file(), {"doctor": False})
    with pytest.warns(FutureWarning, match="'doctor' was renamed to 'hints'"):
        assert settings.resolve("hints") == (False, CONFIG_FILE)
    monkeypatch.setenv("LK_DOCTOR", "on")
    with pytest.warns(FutureWarning, match="'doctor' was renamed to 'hints'"):
        assert settings.resolve("hints") == (True, "LK_DOCTOR")
    monkeypatch.setenv("LK_HINTS", "off")
    assert settings.resolve("hints") == (False, "LK_HINTS")
    with pytest.warns(FutureWarning, match="'doctor' was renamed to 'hints'"):
        settings.save("doctor", "on")
    assert json.loads(settings.config_file().read_text(encoding="utf-8")) == {"hints": True}
