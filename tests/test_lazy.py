"""Names that changed: the old one works for a release, and warns."""

from __future__ import annotations

from decimal import Decimal

import pytest

from lk_jupyter import errors
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.magics._engine.registry import magic_named
from lk_jupyter.options.runs import RENAMED, DockerOptions, RunOptions, check
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


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_of_an_option_warns_and_sets_the_option(old, new):
    model = RunOptions if new in RunOptions.model_fields else DockerOptions
    value = {"metric": ["loss"], "stop_timeout": 20}.get(new, True)
    given = {} if model is RunOptions else {"image": "busybox", "login": "me"}
    with pytest.warns(FutureWarning, match=f"'{old}' is now '{new}'"):
        assert getattr(check(model, {**given, old: value}), new) == value


def test_an_old_name_of_an_option_on_a_line_warns_and_sets_the_option():
    with pytest.warns(FutureWarning, match="'plan' is now 'dry_run'"):
        options = magic_named("lk_run").parse("--gpu A100 --plan --name=--plan")
    assert (options.dry_run, options.name) == (True, "--plan")
