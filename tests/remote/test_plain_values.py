"""Plain values travel and come back equal in type and content."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import http
import io
import math
import pathlib
import random
import sys
import threading
import types
import uuid
import zoneinfo
from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote.roundtrip import EXAMPLES, same, there_and_back

from lk_jupyter.remote.values import codec
from lk_jupyter.remote.values import pickle as pickles
from lk_jupyter.remote.values.codec import CannotTravel

ZONES = st.one_of(
    st.none(),
    st.timezones(),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))),
    st.just(dt.timezone.utc),
    st.just(dt.timezone(dt.timedelta(hours=1), "Büro")),
)
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**63),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "L"])),  # half surrogate pairs too
    st.binary(),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.dates(),
    st.times(timezones=ZONES),
    st.datetimes(timezones=ZONES, allow_imaginary=False),
    st.timedeltas(),
    st.uuids(),
    st.builds(range, st.integers(-5, 5), st.integers(-5, 5), st.integers(1, 5)),
    st.builds(pathlib.PurePosixPath, st.text(st.characters(exclude_characters="\0"), max_size=5)),
    st.sampled_from([..., NotImplemented, int, len, math.sqrt, math, collections.OrderedDict, http.HTTPStatus.OK]),
)
KEYS = st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()), st.fractions())


def containers(inner):
    lists = st.lists(inner, max_size=4)
    texts = st.dictionaries(st.text(), inner, max_size=4)
    return st.one_of(
        lists,
        texts,
        st.builds(tuple, lists),
        st.dictionaries(KEYS, inner, max_size=4),
        st.builds(collections.OrderedDict, texts),
        st.builds(collections.deque, lists, st.sampled_from([None, 0, 3])),
        st.builds(collections.defaultdict, st.sampled_from([None, list, int]), texts),
        st.builds(collections.Counter, st.text(max_size=5)),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
        st.builds(types.SimpleNamespace, a=inner, ü=inner),
        st.builds(slice, inner, inner, inner),
        st.builds(bytearray, st.binary()),
    )


@EXAMPLES
@given(st.recursive(ATOMS, containers, max_leaves=12))
def test_a_value_comes_back_as_it_went(value):
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    "value",
    [
        "ü" * 100_000,
        "\ud800" * 5000,
        b"\0\1" * 100_000,
        bytearray(b"changeable" * 1000),
        10**5000,
        -(2**63),
        2**63,
        float("nan"),
        -0.0,
        decimal.Decimal("sNaN123"),
        dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        [[[[]]] * 3],
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else str(value.bit_length()),
)
def test_the_far_ends_of_each_kind(value):
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value if isinstance(value, int) else same(back, value)


def test_two_names_of_one_object_stay_one_object():
    shared = [1]
    one, other, both = there_and_back(shared, shared, {"a": shared})
    assert one is other is both["a"]


def test_an_object_may_contain_itself():
    loop = {"list": []}
    loop["list"].append(loop)
    back = there_and_back(loop)
    assert back["list"][0] is back


def test_what_is_equal_but_not_the_same_stays_two():
    one, other = there_and_back([1], [1])
    assert one == other
    assert one is not other


def test_the_same_set_makes_the_same_bytes_whatever_order_it_is_held_in():
    words = {str(random.random()) for _ in range(50)}
    again: set[str] = set()
    for word in sorted(words):
        again.add(word)
    assert codec.Encoder().value("x", words) == codec.Encoder().value("x", again)


class Colour(enum.Enum):
    RED = 1


class Odd:
    __module__ = "__main__"


def here():
    pass


here.__module__ = Colour.__module__ = "__main__"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((n for n in ()), "x is a generator, which gives its values only once: make a list of it"),
        (iter([]), r"x is an iterator \(list_iterator\)"),
        (threading.Lock(), "x is a lock, which belongs to this process"),
        (threading.Event(), "x is a Event, which belongs to this process"),
        (io.StringIO(), "x is an open file"),
        (lambda: 1, "x is a function of this notebook: define it in the cell, or in a local .py file"),
        (here, "x is a function of this notebook"),
        (Odd, "x is a class of this notebook"),
        (Odd(), "x is a Odd, which can't be sent: convert it to plain values, or add --pickle"),
        (Colour.RED, "x is a class of this notebook"),
        (sys.modules["__main__"], "x is a module"),
        ({"model": [1, {"lock": threading.RLock()}]}, r"x\['model'\]\[1\]\['lock'\] is a RLock"),
        ({1: {iter([])}}, r"x\[1\]\{...\} is an iterator"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,  # a repr differs in each process
)
def test_what_cannot_travel_is_named_with_its_reason(value, said):
    with pytest.raises(CannotTravel, match=said):
        codec.Encoder().value("x", value)


def test_a_tuple_that_contains_itself_is_refused():
    inner = []
    value = (inner,)
    inner.append(value)
    with pytest.raises(CannotTravel, match="contains itself"):
        codec.Encoder().value("x", value)


def test_endless_depth_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CannotTravel, match="x is nested too deeply"):
        codec.Encoder().value("x", value)


def test_a_value_that_was_refused_leaves_nothing_behind():
    encoder = codec.Encoder()
    shared = [b"x" * 10_000]
    with pytest.raises(CannotTravel):
        encoder.value("bad", [shared, iter([])])
    node = encoder.value("good", shared)
    assert len(encoder.leaves) == 1
    assert node["t"] == "list"


def test_fractions_and_ids_keep_their_types():
    value = (fractions.Fraction(1, 3), uuid.UUID(int=7))
    assert same(there_and_back(value), value)


def test_a_pickle_names_the_packages_that_reading_it_takes():
    import hypothesis  # noqa: PLC0415
    import packaging.version  # noqa: PLC0415

    content = pickles.dumps([packaging.version.Version("1.0"), "antigravity", decimal.Decimal(1), {"numpy": 1}])
    assert pickles.list_modules(content) >= {"packaging", "decimal"}
    assert set(pickles.list_packages(content)) == {"packaging"}
    there = {"packaging": packaging.__version__, "hypothesis": "0.1", "absent-here": "1"}
    assert pickles.list_differences(there, "2.7") == [
        f"this side has Python {pickles.code_python_version()}, and the other side has Python 2.7",
        "absent-here isn't installed on this side, and the other side has version 1",
        f"hypothesis has version {hypothesis.__version__} on this side, and 0.1 on the other side (-r hypothesis==0.1)",
    ]


def test_a_module_is_of_the_package_that_python_finds_and_no_files_of_others_are_read_for_most(monkeypatch):
    for module, names in metadata.packages_distributions().items():
        assert module in sys.stdlib_module_names or pickles.find_package(module)[0] in names
    pickles._list_providers.cache_clear()
    monkeypatch.setattr(metadata, "distributions", lambda: pytest.fail("it reads the files of all packages"))
    packages = {module: pickles.find_package(module) for module in ("__main__", "json", "numpy", "pandas")}
    assert [version is not None for _, version in packages.values()] == [False, False, True, True]


def test_a_package_without_a_list_of_files_is_found_too(tmp_path, monkeypatch):
    old = tmp_path / "oddly_named-1.5.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: oddly-named\nVersion: 1.5\n")
    (old / "SOURCES.txt").write_text("setup.py\nmodule_of_it/__init__.py\n")
    (tmp_path / "module_of_it").mkdir()
    (tmp_path / "module_of_it" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert pickles.find_package("module_of_it") == ("oddly-named", "1.5")


def test_a_widget_inside_a_value_is_refused_as_one_alone_is(monkeypatch):
    monkeypatch.setattr(pickles, "_WIDGET", (Odd.__module__, "Odd"))
    with pytest.raises(CannotTravel, match="it contains a value that is a widget"):
        codec.Encoder(pickle=True).value("x", functools.partial(print, Odd()))


def test_a_class_of_the_notebook_is_not_pickled_by_a_name_that_the_run_does_not_have(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    monkeypatch.setattr(sys.modules["__main__"], "Odd", Odd, raising=False)
    with pytest.raises(CannotTravel, match="x is defined in this notebook: install cloudpickle here"):
        codec.Encoder(pickle=True).value("x", Odd())


def test_a_forged_message_calls_and_imports_nothing():
    called = {"t": "enum", "c": {"t": "global", "m": "os", "q": "getcwd"}, "v": "x"}
    with pytest.raises(CannotTravel, match="is not an enumeration"):
        codec.Decoder(None).value(called)
    sys.modules.pop("antigravity", None)
    with pytest.raises(CannotTravel, match="isn't imported here: import antigravity first"):
        codec.Decoder(None, imports=False).value({"t": "global", "m": "antigravity", "q": ""})
    assert "antigravity" not in sys.modules


def test_zones_of_pytz_come_back_with_their_name_or_their_offset():
    pytz = pytest.importorskip("pytz")
    for zone in (pytz.utc, pytz.timezone("Europe/Berlin"), pytz.FixedOffset(-90)):
        assert there_and_back(zone) is zone
