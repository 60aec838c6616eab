"""Ids in other forms, as a recorded cloud writes its ids."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.protocol.id_forms import describe_id_form, require_id_form, write_id

DASHED = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("3f0c2a9e-5b1d-4c7e-9a52-111111111111", DASHED),
        ("3F0C2A9E5B1D4C7E9A526D1F8E0B7A44", "[0-9A-F]{32}"),
        ("VM-7A", "[A-Z]{2}-[0-9A-F]{2}"),
        ("run_01hzyk", "[a-z]{3}_[0-9a-z]{6}"),
        ("x y", "[a-z]{1}?[a-z]{1}"),
        (7123, 1000),
    ],
)
def test_a_form_has_the_class_and_the_length_of_each_part(value, form):
    assert describe_id_form(value) == form


@given(st.uuids(), st.sampled_from([DASHED, DASHED.replace("a-f", "A-F"), "[0-9a-f]{32}", "[0-9A-F]{32}"]))
def test_the_digits_of_a_uuid_stay_in_each_form_of_a_uuid(value, form):
    assert UUID(str(write_id(str(value), form))) == value


@given(st.uuids(), st.from_regex(r"[a-z]{2,4}[_-][0-9A-Z]{5,20}", fullmatch=True) | st.integers(1, 10**14))
def test_an_id_is_written_in_the_form_of_another_id_and_always_the_same(value, example):
    form = require_id_form(describe_id_form(example))
    written = write_id(str(value), form)
    assert written == write_id(str(value), form)
    assert type(written) is type(example)
    assert len(str(written)) == len(str(example))


@pytest.mark.parametrize(
    "form", ["", "plain", "[0-9]", "[0-9]{0}", "[.*]{3}", "[0-9]{999}", "(a+)+$", 0, -1, 10**15, "[0-9]{150}-[a-z]{99}"]
)
def test_what_is_no_form_of_an_id_is_refused(form):
    with pytest.raises(ValueError, match="not a"):
        require_id_form(form)
