"""State that travels with --carry: identity, changes in place, and what stays behind, without a cloud."""

from __future__ import annotations

import base64
import copy
import fractions
import functools
import importlib
import io
import itertools
import json
import linecache
import logging
import math
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import types
import urllib.request
import warnings
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import SHIPPED
from lk_jupyter.remote.carry import nameless
from lk_jupyter.remote.carry.base import Refused
from lk_jupyter.remote.carry.digests import Digests, digest_objects, mutable_objects
from lk_jupyter.remote.carry.kinds import files
from lk_jupyter.remote.carry.kinds.files import load_arrays, write_modules
from lk_jupyter.remote.carry.kinds.table import MAKERS
from lk_jupyter.remote.carry.nameless import _SETS, NAMELESS, attributes
from lk_jupyter.remote.carry.reader import Arriving, Reader
from lk_jupyter.remote.carry.visit import Visit
from lk_jupyter.remote.carry.writer import Departing, Writer, _relativize_path
from lk_jupyter.remote.values import pickle as pickles
from lk_jupyter.remote.values.envelope import Envelope
from lk_jupyter.runs.variables import state as state_module
from lk_jupyter.runs.variables.fingerprint import fingerprint
from lk_jupyter.runs.variables.payload import add_digests, pack_state
from lk_jupyter.runs.variables.state import apply_changes, set_state

LIMIT = 1_000_000
NULL = Path(os.devnull).open()  # noqa: SIM115 (an open file)


@dataclass
class Box:
    """Something with attributes."""

    value: object = None
    items: list = field(default_factory=list)


class Slots:
    """Something without a dict."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def bytes_of(write):
    pieces = []
    write(lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


class There:
    """What a run is to the state of a notebook, in this process."""

    def __init__(self, namespace, names=None, without=()):
        self.parcel = add_digests(pack_state(list(names or namespace), namespace, [], LIMIT))
        for module in without:
            del sys.modules[module]
        blobs = [bytes_of(blob.write) for blob in self.parcel.blobs]
        text = self.parcel.settings["message"]
        if isinstance(text, dict):
            text = blobs[text["blob"]]
        self.names = {}
        arriving = Arriving(
            json.loads(text), lambda found: bytearray(blobs[found["blob"]][found["at"] : found["at"] + found["size"]])
        )
        self.visit = Visit(arriving, self.names)
        assert not self.visit.refused
        self.visit.begin()

    def back(self, namespace, files=()):
        """Bring back what has changed, and these files; return what it was."""
        departing, refused = self.visit.end(LIMIT, files=files)
        for name in files:
            Path(name).unlink()
        large = []
        for leaf, write in departing.message.large:
            leaf["at"] = len(large)
            large.append(bytes_of(write))
        text = departing.text(refused=refused, sizes=departing.sizes, gone=self.visit.deleted, ambient={})
        arriving = Arriving(json.loads(text), lambda found: bytearray(large[found["at"]]), self.parcel.origin.tokens)
        state = apply_changes(arriving, self.parcel.origin)
        state.put(namespace)
        return state


def shape_of(namespace):
    """Return values and identity as plain data: what was met before is a number."""
    met = {}

    def plain(value):  # noqa: PLR0911 (one for each kind)
        if value is None or isinstance(value, (int, float, str)):
            return value
        if id(value) in met:
            return ("same", met[id(value)])
        met[id(value)] = len(met)
        if isinstance(value, np.ndarray):
            return ("array", value.tolist())
        if isinstance(value, dict):
            return (type(value).__name__, [(key, plain(item)) for key, item in value.items()])
        if isinstance(value, set):
            return ("set", sorted(value))
        if isinstance(value, Box):
            return ("Box", plain(value.value), plain(value.items))
        return (type(value).__name__, [plain(item) for item in value])

    return [(name, plain(namespace[name])) for name in sorted(namespace)]


# Any objects that share parts, and any changes of them

STEPS = st.lists(st.tuples(st.integers(0, 13), st.integers(0, 30), st.integers(0, 30)), max_size=12)


def made(steps):
    """Return a namespace of objects that hold each other."""
    objects = [[1], {"k": 2}, {3}, np.arange(4.0), Box(4), deque([5], maxlen=3), Counter("aab"), defaultdict(list)]
    names = {f"n{at}": value for at, value in enumerate(objects)}
    names["n8"] = names["n3"][1:3]
    for step in steps:
        act(names, *step)
    return names


def act(names, kind, one, other):  # noqa: C901 (one for each kind)
    """Change something in a namespace."""
    known = sorted(names)
    if not known:
        return
    name, value, inner = known[one % len(known)], names[known[one % len(known)]], names[known[other % len(known)]]
    if kind == 0:
        names[name] = inner
    elif kind == 1 and len(known) > 3:
        del names[name]
    elif kind == 2:
        names[f"new{one}"] = [inner, one]
    elif isinstance(value, (list, deque)):
        value.append(inner if kind % 2 else one)
        if kind > 10:
            value.pop()
    elif isinstance(value, dict):
        value[f"k{one % 3}"] = other if isinstance(value, Counter) else inner
        if kind > 11 and len(value) > 1:
            value.pop(next(iter(value)))
    elif isinstance(value, set):
        value.add(other)
    elif isinstance(value, np.ndarray):
        value[other % len(value)] = one
    elif isinstance(value, Box):
        value.value = inner
        value.items.append(one)


@settings(max_examples=1000 if "LK_NIGHTLY" in os.environ else settings.default.max_examples)
@given(STEPS, STEPS)
@example([(3, 0, 8), (0, 8, 0)], [(0, 0, 3), (3, 0, 1)])  # a view in a list, before the array that it shows
def test_what_a_run_does_to_objects_is_what_it_would_do_here(before, changes):
    here = made(before)
    objects = {id(value): value for value in here.values()}
    there = There(here)
    assert shape_of(there.names) == shape_of(here)
    for step in changes:
        act(there.names, *step)
    local = dict(here)
    there.back(local)
    assert shape_of(local) == shape_of(there.names)
    assert all(objects[id(value)] is value for value in local.values() if id(value) in objects)


def test_what_is_only_read_does_not_come_back():
    here = {"df": pd.DataFrame({"a": [1, 2]}), "items": [1], "array": np.ones(10_000), "total": 0}
    there = There(here)
    there.names["total"] = there.names["df"].a.sum() + there.names["array"].sum()
    state = there.back(here)
    assert (list(state.names), state.changed) == (["total"], {})
    assert here["total"] == 10_003


@pytest.mark.parametrize("rebind", [lambda names: names.update(a=5), lambda names: names.pop("a")])
@pytest.mark.parametrize("make_value", [lambda: [1], lambda: np.ones(1), lambda: ([1], 0)])
def test_a_change_arrives_after_the_cell_has_bound_the_name_again_or_deleted_it(make_value, rebind):
    value = make_value()
    namespace = {"a": value, "b": {"shared": value}}
    there = There(namespace, names=["a"])
    mutable = there.names["a"][0] if isinstance(value, tuple) else there.names["a"]
    mutable *= 3
    rebind(there.names)
    there.back(namespace)
    shared = namespace["b"]["shared"]
    assert list(shared[0] if isinstance(value, tuple) else shared) in ([1, 1, 1], [3])
    assert namespace.get("a") in (5, None)


class InfoArray(np.ndarray):
    """An array with attributes."""


@pytest.mark.parametrize(
    "make_array",
    [
        lambda: np.arange(3.0).view(InfoArray),
        lambda: np.asarray([[1, 2]]).view(np.matrix),
        lambda: np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]).view(np.recarray),
        lambda: np.ma.array([1, 2], mask=[0, 1]),
        lambda: np.ma.array([1, 2]),
    ],
)
def test_attributes_of_a_subclass_of_arrays_are_sent_and_returned(make_array):
    array = make_array()
    array.note = ["n"]
    text = repr(array)  # before: a masked array sets its fill value when it is shown
    namespace = {"array": array, "other": array}
    there = There(namespace)
    copied = there.names["array"]
    assert type(copied) is type(array)
    assert copied.note == ["n"]
    assert repr(copied) == text
    assert copied.dtype == array.dtype
    copied.note.append("m")
    copied[...] = copied[::-1].copy()
    copied.unit = "m"
    assert there.back(namespace).missing == {}
    assert namespace["other"] is array
    assert (array.note, array.unit) == (["n", "m"], "m")
    assert repr(array) == repr(copied)


def test_a_read_only_array_is_read_only_in_the_run_and_after_it():
    namespace = {"locked": np.arange(3), "opened": np.arange(3), "owner": np.arange(4)}
    namespace["view"] = namespace["owner"][1:]
    for name in ("locked", "view"):
        namespace[name].flags.writeable = False
    there = There(namespace)
    assert [array.flags.writeable for array in there.names.values()] == [False, True, True, False]
    there.names["owner"][1] = 7
    there.names["opened"].flags.writeable = False
    there.names["made"] = np.arange(2)
    there.names["made"].flags.writeable = False
    opened = namespace["opened"]
    there.back(namespace)
    assert namespace["opened"] is opened
    assert namespace["view"][0] == 7
    written = {name: array.flags.writeable for name, array in namespace.items()}
    assert written == {"locked": False, "opened": False, "owner": True, "view": False, "made": False}


def test_a_memoryview_shows_its_object_in_the_run_and_a_part_is_refused():
    content = bytearray(b"abc")
    namespace = {"content": content, "view": memoryview(content)}
    there = There(namespace)
    there.names["view"][0] = ord("A")
    assert there.names["content"] == b"Abc"
    there.back(namespace)
    assert content == b"Abc"
    with pytest.raises(UsageError, match="part is a memoryview of a part of an object: use the object and a slice"):
        There({"part": memoryview(content)[1:]})


def separate_frame():
    array = np.arange(3.0)
    return {"array": array, "frame": pd.Series(array, copy=False)}


def separate_bytes():
    content = bytearray(24)
    return {"array": np.frombuffer(content), "content": content}


@pytest.mark.parametrize("make_values", [separate_frame, separate_bytes])
def test_memory_that_a_transfer_separates_is_reported_in_one_line(make_values, monkeypatch):
    monkeypatch.setattr("lk_jupyter.runs.variables.state._reported", set())
    namespace = make_values()
    names = ", ".join(namespace)
    there = There(namespace)
    (notice,) = [str(notice) for notice in set_state(there.back(namespace), namespace) if "share memory" in str(notice)]
    assert f"no longer share memory: {names}." in notice
    monkeypatch.setattr("lk_jupyter.runs.variables.state._reported", set())
    namespace = {"x": 1}
    there = There(namespace)
    there.names.update(make_values())
    assert f"no longer share memory: {names}." in " ".join(map(str, set_state(there.back(namespace), namespace)))
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    namespace = {"frame": frame, "a": frame["a"], "array": np.arange(3), "copied": frame.to_numpy().copy()}
    assert There(namespace).back(namespace).separated == []


def test_a_figure_without_a_template_has_none_in_the_run_and_after_it():
    graph_objects = pytest.importorskip("plotly.graph_objects")
    namespace = {"figure": graph_objects.Figure()}
    namespace["figure"].layout.template = None
    there = There(namespace)
    assert "template" not in there.names["figure"].to_dict()["layout"]
    there.names["made"] = graph_objects.Figure(there.names["figure"])
    there.names["made"].layout.template = None
    there.names["usual"] = graph_objects.Figure()
    there.back(namespace)
    assert "template" not in namespace["made"].to_dict()["layout"]
    assert "template" in namespace["usual"].to_dict()["layout"]


def test_a_method_that_a_cell_sets_on_a_class_of_a_library_is_set_on_the_other_side(notebook, monkeypatch):
    exec("from fractions import Fraction\ndef twice(self): return self * 2", notebook)
    cell = "Fraction.twice = twice"
    monkeypatch.setattr(nameless, "read_running_code", lambda: cell)
    monkeypatch.setattr(fractions.Fraction, "twice", sys.modules["__main__"].twice, raising=False)
    state = nameless.attributes()
    assert state == {("fractions", "Fraction.twice"): sys.modules["__main__"].twice}
    monkeypatch.delattr(fractions.Fraction, "twice")
    nameless._last_attributes.clear()  # the other side has sent nothing
    nameless.put_attributes(state)
    assert fractions.Fraction(1, 2).twice() == 1


def test_an_attribute_that_the_run_did_not_change_stays_as_it_was_set_here_meanwhile(notebook, monkeypatch):
    exec("from fractions import Fraction\ndef twice(self): return self * 2", notebook)
    monkeypatch.setattr(nameless, "read_running_code", lambda: "Fraction.twice = twice")
    monkeypatch.setattr(fractions.Fraction, "twice", notebook["twice"], raising=False)
    state = nameless.attributes()
    monkeypatch.setattr(fractions.Fraction, "twice", abs)
    nameless.put_attributes(state)
    assert fractions.Fraction.twice is abs


def test_gradients_do_not_count_toward_the_limit():
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(400, 400)
    namespace = {"model": model, "limit": LIMIT}
    there = There(namespace)
    trained = there.names["model"]
    trained(torch.ones(400)).sum().backward()
    with torch.no_grad():
        trained.weight += 1
    state = there.back(namespace)
    assert not state.missing
    assert model.weight.grad is not None
    assert state.sizes["model"] > LIMIT


def test_what_changes_in_place_is_counted_under_its_name_though_a_new_value_holds_it():
    here = {"items": [1], "unread": [2]}
    there = There(here)
    there.names["items"].append(2)
    there.names["both"] = [there.names["items"], there.names["unread"]]
    departing, _ = there.visit.end(LIMIT)
    assert departing.sizes.keys() == {"both", "items"}


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1], lambda v: v.append(2)),
        ({"a": [1]}, lambda v: v["a"].append(2)),
        ({1}, lambda v: v.add(2)),
        (bytearray(b"a"), lambda v: v.extend(b"b")),
        (deque([1]), lambda v: v.append(2)),
        (OrderedDict(a=1), lambda v: v.update(b=2)),
        (defaultdict(list), lambda v: v["x"].append(1)),
        (Box(1), lambda v: setattr(v, "value", 2)),
        (Slots(1), lambda v: setattr(v, "value", 2)),
        (np.zeros(3), lambda v: v.__setitem__(0, 5)),
        (np.zeros((600, 20)).T, lambda v: v.__setitem__((0, 0), 5)),
        (np.array([[1], None, "x"], dtype=object), lambda v: v[0].append(2)),
        (pd.DataFrame({"a": [1, 2]}), lambda v: v.insert(1, "b", 3)),
        (pd.DataFrame({"a": [1, 2]}), lambda v: v.pop("a")),
        (pd.Series([1.0, 2.0]), lambda v: v.__setitem__(0, 7.0)),
        (np.random.default_rng(1), lambda v: v.random()),
        ([Box([1])], lambda v: v[0].value.append(2)),
    ],
)
def test_what_changes_in_place_changes_here_in_place(value, change):
    here = {"x": value, "same": value, "unread": 1}
    expected = copy.deepcopy(value)
    change(expected)
    there = There(here, ["x", "same"])
    change(there.names["x"])
    state = there.back(here)
    assert state.missing == {}
    assert here["x"] is value or isinstance(value, np.random.Generator)
    assert here["same"] is here["x"]
    if isinstance(value, np.random.Generator):
        assert here["x"].random() == expected.random()
    else:
        assert pickle.dumps(_comparable(here["x"])) == pickle.dumps(_comparable(expected))


def _comparable(value):
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return value.to_dict()
    return value.value if isinstance(value, Slots) else value.tolist() if isinstance(value, np.ndarray) else value


def test_a_view_stays_one_and_so_does_a_view_that_the_run_makes():
    owner = np.arange(10.0)
    here = {"owner": owner, "part": owner[2:5]}
    there = There(here)
    there.names["part"][0] = 99
    there.names["end"] = there.names["owner"][-2:]
    there.back(here)
    assert owner[2] == 99
    assert here["part"].base is owner
    owner[-1] = 7
    assert here["end"][-1] == 7


def test_two_views_of_an_array_without_a_name_stay_views_of_one():
    entire = np.arange(6.0)
    here = {"a": entire[:4], "b": entire[2:]}
    del entire
    there = There(here)
    there.names["a"][3] = -1
    assert there.names["b"][1] == -1
    there.back(here)
    assert here["b"][1] == -1


def test_a_small_view_of_a_large_array_goes_without_it():
    here = {"head": np.zeros(1_000_000)[:5]}
    assert There(here).parcel.inputs[0].size < 2000


def test_models_share_their_parts_with_what_refers_to_them():
    weights = np.ones(3)
    model, optimizer = Box(weights), Box(weights)
    here = {"model": model, "optimizer": optimizer}
    there = There(here)
    there.names["optimizer"].value -= 0.5
    assert there.names["model"].value[0] == 0.5
    there.back(here)
    assert model.value is optimizer.value is weights
    assert weights[0] == 0.5


# Functions and classes of a notebook

CELL = """
import math, functools

factor = 3

def scaled(x, by=[1]):
    "Scale."
    return x * factor * by[0]

def counter():
    n = 0
    def step():
        nonlocal n
        n += 1
        return n
    def read():
        return n
    return step, read

step, read = counter()

class Account:
    made = 0
    def __init__(self):
        self.balance = 0
    def deposit(self, amount):
        self.balance += amount * factor

account = Account()
partial = functools.partial(scaled, 2)
"""


@pytest.fixture
def notebook(monkeypatch):
    """The namespace of a notebook: that of ``__main__``."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(CELL, "<cell>", "exec"), vars(module))
    return vars(module)


def test_functions_of_state_without_a_name_bring_what_they_read(notebook, monkeypatch):
    state = lambda: {"read": notebook["scaled"]}  # noqa: E731 (a row of the table)
    monkeypatch.setitem(NAMELESS, "IPython's formatters", (state, lambda _: None))
    assert "factor" in There(notebook, ["step"]).names


def test_the_modules_of_loaded_extensions_go_along(monkeypatch):
    state = {"extensions": ["mine_alone.magics"]}
    monkeypatch.setitem(NAMELESS, "IPython's magics", (lambda: state, lambda _: None))
    assert "mine_alone" in pack_state([], {}, [], LIMIT, code="%%csv").modules


class Key:
    """Something that others may refer to weakly, and name in a dict."""


def test_an_object_without_attributes_gets_some_in_a_run_and_loses_them():
    here = {"key": Key()}
    key, there = here["key"], There(here)
    there.names["key"].x = 1
    there.back(here)
    assert (here["key"] is key, key.x) == (True, 1)
    there = There(here)
    del there.names["key"].x
    there.back(here)
    assert vars(key) == {}


def test_what_refers_weakly_refers_to_the_same_objects():
    box = Key()
    here = {"box": box, "ref": weakref.ref(box), "ages": weakref.WeakKeyDictionary(), "named": weakref.WeakSet()}
    there = There(here)
    found = there.names
    assert found["ref"]() is found["box"]
    found["ages"][found["ref"]()] = 4
    found["named"].add(found["box"])
    there.back(here)
    assert dict(here["ages"]) == {box: 4}
    assert list(here["named"]) == [box]


def test_a_function_that_chooses_by_class_learns_another_one_in_a_run(notebook):
    exec("@functools.singledispatch\ndef show(value): return 'any'", notebook)
    there = There(notebook, ["show"])
    there.names["show"].register(int, notebook["scaled"])
    assert there.names["show"](2) == 6
    show = notebook["show"]
    there.back(notebook)
    assert (notebook["show"] is show, show("x"), show(2)) == (True, "any", 6)


@pytest.mark.parametrize(("last", "comes"), [([Path("a"), {"b": (1,)}], True), ([Box()], False), ([[[[[]]]]], False)])
def test_the_last_value_comes_back_unasked_if_it_is_short_and_plain(last, comes):
    there = There({})
    there.names["_"] = last
    assert there.back({}).unnamed == ({"_": last} if comes else {})


MADE = {
    "list": lambda: iter([1, 2, 3]),
    "tuple": lambda: iter((1, 2, 3)),
    "text": lambda: iter("abc"),
    "wide text": lambda: iter("äöü"),
    "bytes": lambda: iter(b"abc"),
    "range": lambda: iter(range(3)),
    "long range": lambda: iter(range(1 << 70, (1 << 70) + 3)),
    "reversed": lambda: reversed([1, 2, 3]),
    "keys": lambda: iter({"a": 1, "b": 2, "c": 3}),
    "items": lambda: iter({"a": 1, "b": 2, "c": 3}.items()),
    "set": lambda: iter({"a", "b", "c"}),
    "deque": lambda: iter(deque([1, 2, 3])),
    "sequence": lambda: iter(Row()),
    "map": lambda: map(str, [1, 2, 3]),
    "zip": lambda: zip("abc", [1, 2, 3], strict=False),
    "enumerate": lambda: enumerate("abc"),
    "filter": lambda: filter(None, (1, 2, 3)),
    "chain": lambda: itertools.chain([1], [2, 3]),
    "pairs": lambda: itertools.pairwise([1, 2, 3, 4]),
}
PICKLES_ITERTOOLS = sys.version_info < (3, 14)
if not PICKLES_ITERTOOLS:
    del MADE["chain"], MADE["pairs"]


class Row:
    """Something that is iterated by its places."""

    def __getitem__(self, at):
        return [1, 2, 3][at]


@pytest.mark.parametrize("taken", [1, 3])
@pytest.mark.parametrize("of", MADE)
def test_an_iterator_goes_on_where_the_run_has_left_it(of, taken):
    made = MADE[of]()
    wanted = list(MADE[of]())[taken:] if of != "set" else list(copy.copy(made))[taken:]
    here = {"made": made, "box": [made]}
    there = There(here)
    for _ in range(taken):
        next(there.names["made"])
    if taken == 3:
        assert list(there.names["made"]) == []
    there.back(here)
    assert here["made"] is here["box"][0]
    assert list(here["made"]) == wanted


SHARING = {
    "zip": lambda source: zip(source, source, strict=False),
    "map": lambda source: map(str, zip(source, enumerate(source), strict=False)),
    "step": lambda source: itertools.islice(source, 0, None, 3),
    "stop": lambda source: itertools.islice(source, 1, 9, 2),
    "longest": lambda source: itertools.zip_longest([0], source, [1, 2]),
    "compress": lambda source: itertools.compress(source, itertools.cycle([1, 0])),
    "takewhile": lambda source: itertools.takewhile(bool, enumerate(source, 1)),
    "accumulate": lambda source: itertools.accumulate(source, initial=5),
    "twice": lambda source: itertools.islice(itertools.islice(source, 0, None, 2), 1, None, 2),
}


@pytest.mark.parametrize("taken", [0, 1, 2, 30])
@pytest.mark.parametrize("make", list(SHARING.values())[: None if PICKLES_ITERTOOLS else 2])
def test_an_iterator_over_a_shared_iterator_continues_at_the_item_where_the_run_stopped(make, taken):
    def build():
        source = iter(range(1, 20))
        rows = make(source)
        for _ in range(taken % 30):
            next(rows, None)
        return {"source": source, "rows": rows, "box": {"rows": rows}}

    def take(names):
        return [next(names["rows"], None) for _ in range(max(taken, 1))], next(names["source"], None)

    def read(names):
        return names["rows"] is names["box"]["rows"], take(names), list(names["box"]["rows"])

    expected, here = build(), build()
    there = There(here)
    assert take(there.names) == take(expected)
    assert there.back(here).missing == {}
    assert read(here) == read(expected)


def test_a_generator_expression_whose_position_cannot_be_set_is_reported(notebook):
    exec("rows = (row for row in enumerate('abc'))", notebook)
    there = There(notebook, ["rows"])
    assert next(there.names["rows"]) == (0, "a")
    reason = "a generator that the run advanced, and its position can't be set here: create it again, or make a list"
    assert reason in there.back(notebook).missing["rows"]


def test_an_iterator_over_an_ordered_dict_keeps_its_position_and_stays_one_object():
    keys = iter(OrderedDict(a=1, b=2, c=3))
    here = {"keys": keys, "box": [keys]}
    there = There(here)
    assert next(there.names["keys"]) == "a"
    there.back(here)
    assert (here["keys"] is here["box"][0] is keys, list(keys)) == (True, ["b", "c"])


SENTINELS = """
MISSING = object()
class Empty:
    __slots__ = ()
NOTHING = Empty()
class Row:
    DEFAULT = object()
    def get(self, value=DEFAULT):
        return value is Row.DEFAULT
def is_missing(value=MISSING):
    return value is MISSING or value is NOTHING
row, rows = Row(), {"a": MISSING, "b": NOTHING}
"""


def test_a_sentinel_stays_the_same_object_in_the_run_and_after_the_return(notebook):
    exec(SENTINELS, notebook)
    sent = {name: notebook[name] for name in ("MISSING", "NOTHING", "Row", "row", "rows", "is_missing")}
    there = There(notebook, list(sent))
    received = there.names
    assert received["rows"]["a"] is received["is_missing"].__defaults__[0] is received["MISSING"]
    assert received["rows"]["b"] is received["NOTHING"]
    assert received["Row"].get.__defaults__[0] is received["Row"].DEFAULT
    exec("new, listed = MISSING, [NOTHING]\nrows['c'] = MISSING", received)
    there.back(notebook)
    assert all(notebook[name] is value for name, value in sent.items())
    assert notebook["new"] is notebook["rows"]["c"] is notebook["rows"]["a"] is sent["MISSING"]
    assert notebook["listed"][0] is sent["NOTHING"]


def test_a_position_behind_the_end_of_a_file_is_reported_and_leaves_no_nul_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Path("log.txt").open("w") as log:
        log.write("first\n")
        here = {"log": log}
        there = There(here)
        there.names["log"].write("second\n")
        there.names["log"].close()
        Path("log.txt").write_text("first\n")  # the run returns no file
        there = There(here)
        there.names["log"].seek(20)
        reason = "log is an open file, whose text from the run isn't here: it continues at the end of the file"
        assert there.back(here).missing == {"log": reason}
        there.names["log"].close()
        log.write("third\n")
    assert Path("log.txt").read_text() == "first\nthird\n"


class Late:
    """Becomes a module that is imported where it is read."""

    def __reduce__(self):
        return importlib.import_module, ("made_in_run",)


def test_a_module_that_the_run_wrote_is_written_before_values_need_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_in_run", raising=False)
    Path("made_in_run.py").write_text("")  # unlinked when it is sent
    here = {}
    there = There(here)
    there.names["module"] = Late()
    there.back(here, {"made_in_run.py": b"V = 3"})
    assert here["module"].V == 3


@pytest.mark.parametrize("name", ["../outside.py", ".hidden/inside.py", "_lk_run.py"])
def test_no_module_is_written_outside_the_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "coming", {name: b""})
    write_modules()
    assert not Path(name).exists()


def test_functions_bring_what_they_read_and_closures_share_their_cells(notebook):
    there = There(notebook, ["scaled", "step", "read", "partial"])
    assert {"factor"} <= set(there.names)
    assert there.names["step"]() == 1
    assert there.names["read"]() == 1
    there.names["scaled"].__defaults__[0][0] = 10
    there.back(notebook)
    assert notebook["read"]() == 1
    assert notebook["step"]() == 2
    assert notebook["scaled"](1) == 30
    assert notebook["partial"]() == 60


def test_instances_come_back_as_instances_of_the_class_here(notebook):
    account, kind = notebook["account"], notebook["Account"]
    there = There(notebook, ["account", "Account"])
    there.names["account"].deposit(2)
    there.names["Account"].made = 5
    there.names["other"] = there.names["Account"]()
    there.back(notebook)
    assert notebook["account"] is account
    assert account.balance == 6
    assert type(notebook["other"]) is kind is notebook["Account"]
    assert kind.made == 5


def test_a_method_that_a_run_patches_is_patched_here(notebook):
    there = There(notebook, ["Account", "account"])
    there.names["Account"].double = lambda self: self.balance * 2
    there.back(notebook)
    notebook["account"].balance = 4
    assert notebook["account"].double() == 8


def test_a_class_whose_methods_call_super_comes_back_with_what_holds_it(notebook):
    exec("class Deep(Account):\n    def deposit(self, n):\n        super().deposit(n)\ndeep = Deep()", notebook)
    there = There(notebook, ["deep"])
    exec("type(deep).bonus = 1\nnew = [deep, type(deep)()]\ndeep.deposit(3)", there.names)
    state = there.back(notebook)
    assert state.missing == {}
    assert (notebook["new"][0] is notebook["deep"], notebook["deep"].bonus, notebook["deep"].balance) == (True, 1, 9)


def test_an_exception_comes_back_with_those_that_it_was_raised_from(notebook):
    code = (
        "class Overdrawn(Exception):\n    def __init__(self, balance, amount):\n"
        "        super().__init__('%s of %s' % (amount, balance))\n        self.amount = amount\n"
        "def fail():\n    try:\n        open('/no/such/file')\n    except OSError as missing:\n"
        "        raise Overdrawn(1, 2) from missing\n"
        "try:\n    fail()\nexcept Overdrawn as error:\n    {} = error\n    error.seen = [error]"
    )
    exec(code.format("kept"), notebook)
    kept, cause = notebook["kept"], notebook["kept"].__cause__
    there = There(notebook, ["kept", "Overdrawn"])
    assert (str(there.names["kept"]), there.names["kept"].seen[0]) == ("2 of 1", there.names["kept"])
    exec(code.format("new"), there.names)
    exec("new.__context__.seen = kept.__cause__\nkept.__cause__ = None\nkept.more = 5", there.names)
    assert there.back(notebook).missing == {}
    new = notebook["new"]
    assert (new.amount, new.__cause__, new.__cause__.filename) == (2, new.__context__, "/no/such/file")
    assert new.__context__.seen is cause
    assert (notebook["kept"] is kept, kept.more, kept.__cause__, kept.__context__) == (True, 5, None, cause)


def test_what_code_sets_on_a_module_is_set_on_the_other_side(notebook, monkeypatch):
    package = types.ModuleType("package_of_this_test")
    monkeypatch.setitem(sys.modules, package.__name__, package)
    package.limit, package.left_alone, package.call = [1], 0, lambda: 5
    notebook["p"] = package
    monkeypatch.setattr(
        nameless,
        "read_running_code",
        lambda: "p.limit = [1]; p.call=lambda: 5; f'{p.left_alone=}'; x.limit = p.left_alone == 0",
    )
    packed = pack_state(["p"], notebook, [], LIMIT)
    package.limit = package.call = None
    arriving = Arriving(json.loads(packed.settings["message"]), None)
    visit = Visit(arriving, there := {})
    visit.begin()
    assert (there["p"].limit, there["p"].call()) == ([1], 5)
    assert {name for _, name in attributes()} == {"limit", "call"}
    monkeypatch.setattr(nameless, "read_running_code", lambda: "p.sum += 1\nsetattr(p, 'array', 1)\np.sub.x = 1")
    there["p"].sum, there["p"].array, there["p"].limit = None, np.arange(3), [2]
    departing, refused = visit.end(LIMIT)
    assert refused == {}
    del package.sum, package.array
    package.limit = None
    text = departing.text(refused={}, sizes={}, gone=[], ambient={})
    nameless._last_attributes.clear()  # of the run, whose process this is too
    apply_changes(Arriving(json.loads(text), None, packed.origin.tokens), packed.origin).put(notebook)
    assert (package.sum, package.array.tolist(), package.limit, package.left_alone) == (None, [0, 1, 2], [2], 0)


@pytest.mark.parametrize("text", ["x" * 200_000, "a." * 100_000, "a.b" + " " * 200_000, "a.b " * 50_000])
def test_no_text_of_a_cell_takes_long_to_be_searched_for_attributes(text):
    began = time.process_time()
    _SETS.findall(text)
    assert time.process_time() - began < 1


def test_a_class_with_a_cached_property_travels_with_what_it_has_kept(notebook):
    exec(
        "class Lazy:\n    made = 0\n    @functools.cached_property\n    def value(self):\n"
        "        Lazy.made += 1\n        return Lazy.made\nlazy, other = Lazy(), Lazy()\nlazy.value",
        notebook,
    )
    there = There(notebook, ["Lazy", "lazy", "other"])
    assert (there.names["lazy"].value, there.names["Lazy"].value.attrname) == (1, "value")
    exec("lazy.__dict__.clear(); other.x = 5; new = Lazy()", there.names)
    assert there.back(notebook).missing == {}
    assert (notebook["new"].__class__, vars(notebook["lazy"]), notebook["other"].x) == (notebook["Lazy"], {}, 5)
    assert notebook["lazy"].value == 2


def test_the_streams_of_one_side_are_those_of_the_other(notebook):
    notebook.update(printer=functools.partial(print, file=sys.stderr), out=[sys.stdout])
    there = There(notebook, ["printer", "out"])
    assert (there.names["out"][0], there.names["printer"].keywords["file"]) == (sys.stdout, sys.stderr)
    there.names["later"] = {"in": sys.stdin}
    there.back(notebook)
    assert notebook["later"]["in"] is sys.stdin


def test_a_lru_cache_and_a_decorated_function_come_back(notebook):
    there = There(notebook, ["functools", "scaled"])
    there.names["cached"] = functools.lru_cache(there.names["scaled"])
    there.names["math2"] = json
    there.back(notebook)
    assert notebook["cached"](1) == 3
    assert notebook["math2"] is json


def test_a_function_with_a_memo_travels_without_its_answers(notebook):
    exec(
        "import functools\nclass Calc:\n    @functools.lru_cache(maxsize=3)\n    def twice(self, n): return n * 2\n"
        "calc = Calc()\ncalc.twice(2)\n@functools.cache\ndef once(n): return n + factor\nonce(1)",
        notebook,
    )
    there = There(notebook, ["calc", "Calc", "once"])
    exec("found = calc.twice(2), calc.twice(3), once(4)", there.names)
    state = there.back(notebook)
    assert (state.missing, notebook["found"]) == ({}, (4, 6, 7))
    assert (notebook["once"].cache_info().currsize, notebook["once"](1)) == (1, 4)


def test_a_generator_travels_before_it_begins_and_when_it_has_ended(notebook):
    exec(
        "def count(n, *more, step=1):\n    yield from range(0, n, step)\nlimit = 4\n"
        "up, gone = count(limit), (n for n in ())\nlist(gone)",
        notebook,
    )
    there = There(notebook, ["up", "gone", "limit"])
    assert (list(there.names["up"]), list(there.names["gone"])) == ([0, 1, 2, 3], [])
    exec("more = (n + limit for n in [1, 2])", there.names)
    there.back(notebook)
    assert list(notebook["up"]) == []


def test_a_generator_of_a_library_travels_before_it_begins(notebook):
    frame = pd.DataFrame({"a": [1, 2]})
    notebook.update(rows=frame.iterrows(), later=frame.iterrows())
    there = There(notebook, ["rows", "later"])
    labels = [label for label, _ in there.names["rows"]]
    there.names["new"] = frame.iterrows()
    state = there.back(notebook)
    assert state.missing == {}
    assert [labels, *([label for label, _ in notebook[name]] for name in ("rows", "later", "new"))] == [
        [0, 1], [], [0, 1], [0, 1],
    ]  # fmt: skip
    begun = frame.iterrows()
    next(begun)
    with pytest.raises(UsageError, match="begun is a generator"):
        There({"begun": begun})


@pytest.mark.parametrize("kind", cloudpickle.Pickler.dispatch_table, ids=lambda kind: kind.__name__)
def test_each_type_that_cloudpickle_reduces_is_reduced_as_cloudpickle_does(kind):
    assert Writer.dispatch_table[kind] is cloudpickle.Pickler.dispatch_table[kind]


def test_an_attribute_that_a_run_has_deleted_from_a_class_is_deleted_here(notebook):
    exec("class Counter:\n    most = 3\n    __slots__ = ('at',)\n    def up(self): pass", notebook)
    kind = notebook["Counter"]
    writer = Writer(None)
    up = kind.up
    del kind.up
    content = writer.chunk(kind)
    kind.up, kind.most = up, 4
    assert Reader(content, {}, None).chunk(0) is kind
    assert (hasattr(kind, "up"), kind.most, kind().__reduce_ex__(2)[2]) == (False, 3, None)


def test_an_enumeration_keeps_its_aliases_and_what_its_members_hold(notebook):
    code = "import enum\nclass Planet(enum.Enum):\n    EARTH = (1, 2)\n    HOME = (1, 2)\n    MARS = (3, 4)\n"
    code += "    def __init__(self, mass, radius): self.mass = mass\n"
    exec(code + "class Can(enum.Flag):\n    READ = 1\n    WRITE = 2\n    BOTH = 3", notebook)
    content = Writer(None).chunk([notebook["Planet"], notebook["Can"].READ])
    tracked = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    known = dict(tracked)
    tracked.clear()  # as in another process
    try:
        planets, can = Reader(content, {}, None).chunk(0)
    finally:
        tracked.clear()
        tracked.update(known)
    assert planets is not notebook["Planet"]
    assert (planets.HOME.mass, planets.HOME is planets.EARTH, [*planets]) == (1, True, [planets.EARTH, planets.MARS])
    assert (can | type(can).WRITE) is type(can).BOTH


def test_a_run_sets_an_attribute_of_a_member_of_an_enumeration(notebook):
    exec("import enum\nclass Color(enum.Enum):\n    RED = 1", notebook)
    content = Writer(None).chunk(notebook["Color"])
    notebook["Color"].RED.note = "x"
    later = Writer(None).chunk(notebook["Color"])
    assert not hasattr(Reader(content, {}, None).chunk(0).RED, "note")
    assert Reader(later, {}, None).chunk(0).RED.note == "x"


def test_an_attribute_that_a_class_has_like_its_base_is_its_own(notebook):
    exec("class Base:\n    made = 1\nclass Own(Base): pass", notebook)
    before = Digests({}).digest_any(notebook["Own"])
    exec("Own.made = Base.made", notebook)
    assert Digests({}).digest_any(notebook["Own"]) != before


def test_a_value_whose_content_cannot_be_read_is_refused_with_the_reason():
    class Closed:
        def __reduce_ex__(self, protocol):
            raise OSError("the device is closed")

    with pytest.raises(Refused, match="can't be pickled \\(the device is closed\\)"):
        Digests({}).digest(Closed())


def test_an_object_that_refuses_what_the_run_made_of_it_is_named_and_keeps_what_it_has(notebook):
    exec(
        "class Small:\n    def __init__(self): self.n = 1\n    def __getstate__(self): return dict(vars(self))\n"
        "    def __setstate__(self, state):\n        if state['n'] > 1: raise ValueError\n"
        "        vars(self).update(state)\nsmall = Small()",
        notebook,
    )
    there = There(notebook, ["small"])
    there.names["small"].n = 2
    state = there.back(notebook)
    assert (state.changed, notebook["small"].n) == ({}, 1)
    words = "small is unchanged, because the object refused the changes by the run (ValueError)"
    assert state.missing == {"small": words}


def test_what_a_run_changes_in_a_local_module_comes_back(notebook, tmp_path, monkeypatch):
    (tmp_path / "of_mine.py").write_text(
        "SIDES, made = {'square': 4}, 0\ndef make():\n    global made\n    made += 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    exec("import of_mine\nkept = of_mine.SIDES", notebook)
    there = There(notebook, ["of_mine"])
    exec("of_mine.SIDES['triangle'] = 3\nof_mine.make()", there.names)
    assert there.back(notebook).missing == {}
    module = notebook["of_mine"]
    assert (notebook["kept"], module.made, module.SIDES is notebook["kept"]) == ({"square": 4, "triangle": 3}, 1, True)
    (tmp_path / "of_mine.py").unlink()
    notebook["make"] = module.make
    there = There(notebook, ["make"], without=["of_mine"])
    exec("make()\nn = make.__globals__['made']", there.names)
    there.back(notebook)
    assert notebook["n"] == 2


def test_instances_of_a_class_without_a_module_travel(notebook):
    exec("Made = type('Made', (), {'__module__': None, 'n': 1})\nmade = Made()", notebook)  # as sympy's Function does
    there = There(notebook, ["made"])
    exec("made.n += 1\nother = type(made)()", there.names)
    assert there.back(notebook).missing == {}
    assert (notebook["made"].n, notebook["other"].n) == (2, 1)


def test_what_python_does_not_pickle_travels_in_parts(notebook):
    exec("d = {'k': 1}\nkeys, pairs = d.keys(), d.items()", notebook)
    there = There(notebook, ["d", "keys", "pairs"])
    exec("d['more'] = 2\nlisted = list(keys)", there.names)
    state = there.back(notebook)
    assert state.missing == {}
    assert (notebook["listed"], list(notebook["pairs"])) == (["k", "more"], [("k", 1), ("more", 2)])


def test_a_dict_whose_items_are_its_attributes_changes_as_it_would_here(notebook):
    exec(
        "class Answers(dict):\n    def __getattr__(self, name): return self[name]\n"
        "    def __setattr__(self, name, value): self[name] = value\n"
        "class Own(dict):\n    def __init__(self, **items):\n        super().__init__(**items)\n"
        "        self.__dict__ = self\n"
        "class Lazy:\n    def __init__(self): self.data = {'a': 1}\n"
        "    def __getattr__(self, name): return self.data[name]\n"
        "class Slim:\n    __slots__ = ('kept', 'unset')\n    def __getattr__(self, name): raise KeyError(name)\n"
        "answers, own, lazy, slim = Answers(x=1), Own(x=1), Lazy(), Slim()\nslim.kept = [1]",
        notebook,
    )
    there = There(notebook, ["answers", "own", "lazy", "Own", "slim"])
    exec("answers.y = 2\nown.y = 3\nown['z'] = 4\nlazy.data['b'] = 5\nnew = Own(q=6)\nslim.kept.append(2)", there.names)
    state = there.back(notebook)
    assert state.missing == {}
    assert (notebook["answers"].y, notebook["own"].z, notebook["own"]["y"], notebook["lazy"].b) == (2, 4, 3, 5)
    assert (notebook["new"].q, notebook["slim"].kept) == (6, [1, 2])
    notebook["new"].r = 7
    assert notebook["new"]["r"] == 7


def test_nothing_of_the_notebook_is_called_when_its_classes_are_made_elsewhere(notebook, monkeypatch):
    exec(
        "made = []\nclass Base:\n    def __init_subclass__(cls): made.append(cls.__name__)\nclass One(Base): pass\n"
        "class Meta(type):\n    def __new__(meta, *given):\n        made.append(Meta.__name__)\n"
        "        return super().__new__(meta, *given)\nclass Two(metaclass=Meta): pass\n"
        "class Slim:\n    __slots__ = ('x',)\nslim = Slim()\nslim.x = 1",
        notebook,
    )
    notebook["made"].clear()
    tracked = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    parcel = add_digests(pack_state(["One", "Two", "slim"], notebook, [], LIMIT))
    content = json.loads(parcel.settings["message"])
    blobs = [bytes_of(blob.write) for blob in parcel.blobs]
    known = dict(tracked)
    tracked.clear()  # as in another process
    try:
        arriving = Arriving(content, lambda found: blobs[found["blob"]][found["at"] : found["at"] + found["size"]])
        names = {entry["n"]: value for entry, value in arriving.read()}
    finally:
        tracked.clear()
        tracked.update(known)
    assert arriving.refused == {}
    assert notebook["made"] == []
    assert names["One"].__bases__[0].__name__ == "Base"
    exec("class Three(One): pass", {**names, "__name__": "__main__"})
    assert notebook["made"] == ["Three"]
    assert type(names["Two"]).__name__ == "Meta"
    with pytest.raises(AttributeError):
        names["slim"].y = 2


def no_pickling(*_):
    raise NotImplementedError("no pickle of this")


class Contrast(Box):
    """Refuses as patsy does."""

    __getstate__ = no_pickling


def test_objects_of_patsy_travel_though_they_refuse_to_be_pickled():
    here = {"old": Contrast(np.arange(3))}
    there = There(here)
    there.names["new"] = Contrast(there.names["old"].value * 2)
    state = there.back(here)
    assert state.missing == {}
    assert here["new"].value.tolist() == [0, 2, 4]


def test_a_tensor_stays_in_the_memory_of_its_array():
    torch = pytest.importorskip("torch")
    here = {"a": np.arange(4.0)}
    here["t"] = torch.from_numpy(here["a"])
    there = There(here)
    there.names["t"].mul_(2)
    there.names["new"] = torch.from_numpy(there.names["a"])
    there.back(here)
    here["new"][0] = 7
    assert here["a"].tolist() == here["t"].tolist() == here["new"].tolist() == [7, 2, 4, 6]


def test_tensors_in_one_memory_stay_there():
    torch = pytest.importorskip("torch")
    here = {"flat": torch.arange(6.0)}
    here["square"] = here["flat"].view(2, 3)
    here["first"] = here["square"][0]
    here["layer"] = torch.nn.Linear(2, 2)
    here["weights"] = here["layer"].weight.data
    there = There(here)
    there.names["first"].zero_()
    there.names["weights"].fill_(7)
    assert there.names["flat"].tolist() == [0, 0, 0, 3, 4, 5]
    assert there.names["layer"].weight.tolist() == [[7, 7], [7, 7]]
    there.names["turned"] = there.names["square"].T
    flat, weight = here["flat"], here["layer"].weight
    there.back(here)
    assert here["flat"] is flat
    assert flat.tolist() == [0, 0, 0, 3, 4, 5]
    assert here["layer"].weight is weight
    assert weight.requires_grad
    assert weight.tolist() == [[7, 7], [7, 7]]
    flat[5] = -1
    assert here["square"].tolist() == [[0, 0, 0], [3, 4, -1]]
    assert here["turned"].tolist() == [[0, 3], [0, 4], [0, -1]]


def test_a_run_never_changes_the_streams_of_a_notebook(monkeypatch):
    stream = io.StringIO()  # it can be pickled, as those of kernels can
    assert mutable_objects({0: stream})
    monkeypatch.setattr(sys, "stderr", stream)
    assert not mutable_objects({0: stream})


def test_an_optimizer_keeps_its_hooks_and_the_scheduler_that_follows_its_steps():
    torch = pytest.importorskip("torch")
    steps = []
    here = {"steps": steps, "net": torch.nn.Linear(2, 1)}
    here["optimizer"] = optimizer = torch.optim.SGD(here["net"].parameters(), lr=1.0)
    here["scheduler"] = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    there = There(here)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there.names["optimizer"].step()
        there.names["scheduler"].step()
    assert there.names["steps"] == [1]
    there.back(here)
    optimizer.step()
    assert (steps, round(optimizer.param_groups[0]["lr"], 2)) == ([1, 1], 0.1)


def raise_error():
    try:
        return 1 / 0
    except ZeroDivisionError as error:
        return error


def make_logger():
    logger = logging.getLogger("lk_jupyter_test_losses")
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    return logger


def make_memo():
    memo = functools.lru_cache(lambda number: number)
    memo.__wrapped__.__module__ = "__main__"
    memo(3)
    return memo


@pytest.mark.parametrize(
    ("make_value", "loss"), [(make_memo, "memo"), (raise_error, "traceback"), (make_logger, "handlers")]
)
def test_what_a_value_loses_on_its_way_is_named_once(monkeypatch, make_value, loss):
    monkeypatch.setattr(state_module, "_reported", set())
    here = {"value": make_value(), "count": 1}
    there = There(here)
    assert there.parcel.origin.losses == {loss: frozenset({"value"})}
    there.names["count"] = 2
    notices = [str(notice) for notice in set_state(there.back(here), here) if ": value" in notice.text]
    assert len(notices) == 1
    assert notices[0].startswith("⚠")


@pytest.mark.parametrize("nan", [np.nan, math.nan])
def test_the_nan_of_numpy_and_of_python_stays_the_same_object(nan):
    here = {"values": [nan, 1.0, float("nan")]}
    there = There(here)
    assert [value is nan for value in there.names["values"]] == [True, False, False]
    there.names["more"] = [nan]
    there.back(here)
    assert here["more"][0] is nan


@pytest.mark.parametrize("iterator", [itertools.tee("ab")[0], itertools.groupby("aab")])
def test_an_iterator_that_shares_its_position_is_not_sent(iterator):
    with pytest.raises(UsageError, match="values only once"):
        There({"iterator": iterator})


def test_a_tensor_that_lost_its_graph_is_named_and_the_rest_comes():
    torch = pytest.importorskip("torch")
    here = {"w": torch.ones(2, requires_grad=True)}
    there = There(here)
    there.names["losses"] = [(there.names["w"] * 2).sum()]
    there.names["same"] = there.names["losses"][0]
    there.names["plain"] = there.names["w"].detach() + 1
    state = there.back(here)
    assert state.losses["graph"] == ["losses", "same"]
    assert here["losses"][0] is here["same"]
    assert here["plain"].tolist() == [2, 2]
    assert here["w"].requires_grad
    (notice,) = set_state(state, {})
    assert "Returned without the graph of its computation: losses, same (" in notice.text


def test_paths_of_the_folder_are_moved_and_others_stay(monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/book/venv")
    paths = ["/book", "/book/x/", "/book2", "/book/.cache", "/book/venv/bin/python", "/book/_lk_1/x"]
    assert [_relativize_path(path, "/book") for path in paths] == ["", "/x/", None, None, None, None]


def test_files_that_values_name_anywhere_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = ["rows.parquet", "rows_of_all_the_years_before.parquet"]  # a long name comes behind its length
    for table in tables:
        pl.DataFrame({"n": [1]}).write_parquet(table)
    Path("notes.txt").write_text("x")
    query = pl.concat(pl.scan_parquet(table).filter(pl.col("n") > 0) for table in tables)
    here = {"settings": {"of": [{"name": "notes.txt"}, "absent.txt", "."]}, "query": query}
    assert pack_state(["settings", "query"], here, [], LIMIT).named_files == {"notes.txt", *tables}


def test_a_class_of_the_notebook_may_have_the_name_of_one_of_polars(notebook):
    exec("class LazyFrame:\n    def __reduce__(self): return LazyFrame, ()\nlazy = LazyFrame()", notebook)
    assert type(There(notebook, ["lazy"]).names["lazy"]).__name__ == "LazyFrame"


def test_an_open_file_of_the_folder_travels_with_the_place_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("abcdef")
    Path("large.txt").write_bytes(bytes(5_000_001))
    with ExitStack() as files:
        opened, gone, raw = (files.enter_context(open(*way)) for way in (("x.txt",), ("x.txt",), ("x.txt", "rb")))  # noqa: PTH123
        large = files.enter_context(open("large.txt"))  # noqa: PTH123
        opened.read(2)
        Path("lines.txt").write_bytes(b"1\r\n\xc3\xbc\r\n3\r\n")
        lines = files.enter_context(open("lines.txt", encoding="utf-8"))  # noqa: PTH123
        here = {"opened": opened, "gone": gone, "raw": raw, "same": opened, "lines": lines}
        next(lines)
        there = There(here)
        assert next(there.names["lines"]) == "ü\n"
        assert there.names["same"].read(3) == "cde"
        assert there.names["raw"].read(1) == b"a"
        there.names["gone"].close()
        there.names["new"] = files.enter_context(open("new.txt", "w"))  # noqa: PTH123
        there.names["new"].write("first")
        np.savez("many.npz", x=np.arange(3))
        there.names["many"] = files.enter_context(np.load("many.npz"))
        there.back(here, {"many.npz": Path("many.npz").read_bytes()})
        with here["many"] as many:
            assert many["x"].tolist() == [0, 1, 2]
        Path("many.npz").unlink()
        with pytest.raises(FileNotFoundError):  # a file that came once doesn't come again with other values
            load_arrays("many.npz", False)  # noqa: FBT003 (whether it has pickles)
        assert (here["lines"] is lines, next(lines)) == (True, "3\n")
        assert here["opened"] is opened is here["same"]
        assert (opened.read(), raw.read(), gone.closed) == ("f", b"bcdef", True)
        assert here["new"] is not there.names["new"]
        here["new"].write(" second")
        here["new"].close()
        assert Path("new.txt").read_text() == "first second"
        with pytest.raises(UsageError, match="large is an open file"):
            There({"large": large})
        for file in there.names.values():
            file.close()


def test_results_of_a_formula_find_its_functions_among_the_variables(notebook, monkeypatch):
    library = types.ModuleType("statsmodels.made")
    exec(
        "import sys\nclass Results:\n    formula = 'y ~ scaled(x) + base'\n"
        "    def __init__(self): self.fit = 1\n"
        "    def __setstate__(self, state):\n"
        "        one, two = sys._getframe(1), sys._getframe(2)\n"
        "        self.found = one.f_globals['scaled'](2), two.f_globals['scaled'](2)\n"
        "        self.flags = one.f_code.co_flags | two.f_code.co_flags",
        vars(library),
    )
    monkeypatch.setitem(sys.modules, "statsmodels.made", library)
    monkeypatch.setitem(sys.modules, "statsmodels", types.ModuleType("statsmodels"))
    notebook["a"] = library.Results()
    there = There(notebook, ["a"])
    assert there.names["a"].found == (6, 6)
    assert there.names["a"].flags & 0x1000000 == 0
    assert "scaled" in there.names


def test_what_a_package_has_made_for_all_travels_by_its_name(notebook):
    exec("import random, os, re\nfrom random import randint\nfrom os import environ\nflag = re.MULTILINE", notebook)
    there = There(notebook, ["randint", "environ"])
    assert (there.names["randint"].__self__, there.names["environ"]) == (random._inst, os.environ)
    there.names["again"] = [there.names["environ"], np.random.rand]
    there.back(notebook)
    assert notebook["again"][0] is os.environ
    assert notebook["again"][1].__self__ is np.random.rand.__self__


def test_what_a_function_of_a_package_has_set_travels_by_what_it_holds(monkeypatch):
    monkeypatch.setattr(urllib.request, "_opener", None)
    opener = urllib.request.OpenerDirector()  # build_opener's holds certificates since Python 3.12
    opener.add_handler(urllib.request.HTTPHandler())
    opener.addheaders = [("User-agent", "mine")]
    urllib.request.install_opener(opener)
    there = There({"opener": opener})
    assert there.names["opener"].addheaders == [("User-agent", "mine")]
    assert there.names["opener"] is not opener


def test_submodules_that_the_code_names_are_imported_on_the_other_side(notebook, monkeypatch):
    exec("import xml.dom.minidom, urllib.request\ndef parsed(text): return xml.dom.minidom.parseString(text)", notebook)
    parcel = pack_state(["parsed", "urllib"], notebook, [], LIMIT, code="urllib.request.urlopen")
    monkeypatch.delitem(sys.modules, "xml.dom.minidom")
    monkeypatch.delattr(sys.modules["xml.dom"], "minidom")
    arriving = Arriving(json.loads(parcel.settings["message"]), None)
    list(arriving.read())
    assert arriving.listed["submodules"] == ["urllib.request", "xml.dom", "xml.dom.minidom"]
    assert "xml.dom.minidom" in sys.modules


class Stubborn:
    """What can be pickled, but not read."""

    def __init__(self, inner):
        self.inner = inner

    def __reduce__(self):
        return int, ("no number", self.inner, [Box(5)])


def test_what_cannot_be_read_takes_nothing_with_it_but_its_parts():
    shared, stubborn = Box([1]), Stubborn(Box(2))
    here = {"a": stubborn, "b": stubborn.inner, "c": [shared, shared], "d": {"x": stubborn}, "e": Box(3)}
    arriving = Arriving(json.loads(pack_state(list(here), here, [], LIMIT).settings["message"]), None)
    came = {entry["n"]: value for entry, value in arriving.read()}
    assert came.keys() == {"c", "e"}
    assert (came["c"], came["e"]) == ([Box([1]), Box([1])], Box(3))
    assert came["c"][0] is came["c"][1]
    assert arriving.refused["a"].startswith("a can't be read (")
    assert arriving.refused["a"].endswith("create it in the cell that uses it")
    for name in ("b", "d"):
        assert arriving.refused[name] == f"{name} shares a part with a value that this Python process doesn't have"


PARTS = """
import enum, functools, itertools, pathlib, sys
class Color(enum.Enum):
    RED = 1
@functools.lru_cache(maxsize=2)
def half(n): return n / 2
def numbers(): yield 1
once, rows, keys, out = numbers(), iter([1, 2]), {"k": 1}.keys(), sys.stdout
lazy, error, color, inner = functools.cached_property(half), ValueError("no"), Color.RED, {"step": step}
opened = open("data.txt")
"""
IN_A_RUN = """
import base64, json, sys
sys.path.insert(0, sys.argv[1])
from _lk.carry.reader import Arriving
from _lk.carry.writer import Departing
arriving = Arriving(json.loads(sys.stdin.buffer.readline()), None)
values = {entry["n"]: value for entry, value in arriving.read()}
assert not arriving.refused, arriving.refused
vars(sys.modules["__main__"]).update(values)
departing = Departing()
for name, value in values.items():
    departing.add("name", name, value, name)
departing.close()
for leaf, write in departing.message.large:
    pieces = []
    write(lambda piece: pieces.append(bytes(piece)))
    leaf["v"] = base64.b64encode(b"".join(pieces)).decode()
print(departing.text())
"""


def test_no_pickle_names_a_module_that_only_one_side_has(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("one\n")
    Path("_lk").symlink_to(SHIPPED)
    exec(compile(PARTS, "<cell>", "exec"), notebook)
    names = [name for name in notebook if name[0] != "_"]
    departing = Departing()
    with notebook["opened"]:
        for name in names:
            departing.add("name", name, notebook[name], name)
    departing.close()
    for leaf, write in departing.message.large:
        leaf["v"] = base64.b64encode(bytes_of(write)).decode()
    sent = departing.text()
    command = [sys.executable, "-c", IN_A_RUN, str(tmp_path)]
    done = subprocess.run(command, input=f"{sent}\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for text in (sent, done.stdout):
        message = json.loads(text)
        stream = base64.b64decode(message["leaves"][message["carry"]["stream"]]["v"])
        assert not re.search(rb"_lk|lk_jupyter", stream)
    arriving = Arriving(json.loads(done.stdout), None)
    found = {entry["n"]: value for entry, value in arriving.read()}
    assert (arriving.refused, found.keys()) == ({}, set(names))
    found["opened"].close()
    assert (found["half"](4), list(found["once"]), found["step"]()) == (2, [1], 1)


@pytest.mark.parametrize(
    ("maker", "arguments"),
    [("named", ("os", "getpid")), ("make_library_generator", ("os", "system", {"command": "true"}))],
)
def test_no_function_that_a_pickle_names_calls_what_no_value_needs(maker, arguments):
    class Forged:
        def __reduce__(self):
            return MAKERS[maker], arguments

    with pytest.raises(Refused, match="refer"):
        Reader(Writer(None).chunk(Forged()), {}, None).chunk(0)


def test_another_python_makes_a_function_of_its_text_and_refuses_one_without(notebook, monkeypatch):
    linecache.cache["<cell>"] = len(CELL), None, CELL.splitlines(keepends=True), "<cell>"
    exec(compile("def lost(): return 1", "<nowhere>", "exec"), notebook)
    monkeypatch.setattr(pickles, "code_python_version", lambda: "3.0")
    parcel = pack_state(["scaled", "step", "Account", "lost"], notebook, [], LIMIT)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    arriving = Arriving(json.loads(parcel.settings["message"]), None)
    came = {entry["n"]: value for entry, value in arriving.read()}
    vars(sys.modules["__main__"]).update(came)
    account = came["Account"]()
    account.deposit(2)
    assert (came["scaled"](2), came["step"](), account.balance) == (6, 1, 6)
    assert "the function's source text is missing: define lost in the cell" in arriving.refused["lost"]


# Libraries: what comes back is what it would be here

LIBRARIES = {
    "sklearn.linear_model": (
        "import sklearn.linear_model as k, numpy as np\nX = np.arange(6.0).reshape(3, 2)\nx = k.LinearRegression()",
        "x.fit(X, X[:, 0])",
        "x.coef_.round(6).tolist()",
    ),
    "plotly.graph_objects": (
        "import plotly.graph_objects as go\nx = go.Figure(go.Scatter(y=[1, 2]))",
        "x.add_bar(y=[3])\nx.update_layout(title='t')",
        "__import__('json').loads(x.to_json())",
    ),
    "PIL.Image": (
        "import PIL.Image\nx = PIL.Image.new('RGB', (4, 4), 'red')",
        "x.putpixel((0, 0), (1, 2, 3))",
        "x.tobytes()",
    ),
    "polars": (
        "import polars as pl\nx = pl.DataFrame({'a': [1, None]})",
        "x.insert_column(1, pl.Series('b', ['u', 'v']))",
        "x.rows()",
    ),
    "matplotlib.figure": (
        "import matplotlib.figure\nx = matplotlib.figure.Figure()\nax = x.add_subplot()\nline, = ax.plot([1, 2])",
        "ax.set_title('T')\nline.set_color('red')",
        "x.axes[0] is ax, ax.lines[0] is line, ax.get_title(), line.get_color(), line.figure is x",
    ),
    "statsmodels.api": (
        "import statsmodels.api as sm, numpy as np\nx = {'n': np.arange(9.0)}",
        "x['fit'] = sm.OLS(x['n'] * 2, x['n']).fit()",
        "x['fit'].params.round(6).tolist()",
    ),
    "bokeh.plotting": (
        "import bokeh.plotting as b\ns = b.ColumnDataSource()\nx = b.figure()\nb.curdoc().add_root(x)\nr = x.line('a')",
        "r.data_source = s\ns.data['a'] = [3]\nr.glyph.line_color = 'red'",
        "s.data, x.renderers[0] is r, r.data_source is s, r.glyph.line_color, x.document is b.curdoc()",
    ),
    "networkx": (
        "import networkx as nx\nx = nx.path_graph(3)",
        "x.add_edge(0, 9, weight=2)",
        "sorted(x.edges(data=True))",
    ),
    "sympy": (
        "import sympy\na = sympy.Symbol('a')\nx = [a**2]",
        "x.append(sympy.diff(x[0], a))",
        "x[1] == 2 * a, str(x)",
    ),
    "altair": (
        "import altair as alt, pandas as pd\nx = alt.Chart(pd.DataFrame({'a': [1]})).mark_bar()",
        "x = x.encode(x='a')",
        "x.to_dict()['encoding']",
    ),
    "xarray": (
        "import xarray as xr\nx = xr.DataArray([1, 2], dims='t')",
        "x[0] = 5\nx.attrs['u'] = 'm'",
        "x.to_dict()",
    ),
    "torch": (
        (
            "import torch\ntorch.manual_seed(0)\nx = torch.nn.Linear(2, 1)\nw = x.weight\n"
            "o = torch.optim.SGD(x.parameters(), lr=0.1)"
        ),
        "x(torch.ones(1, 2)).sum().backward()\no.step()",
        "w is x.weight, o.param_groups[0]['params'][0] is w, w.grad.tolist(), w.tolist(), w.requires_grad",
    ),
    "jax.numpy": (
        "import jax.numpy as jnp\nx = [jnp.arange(3)]",
        "x.append(x[0] * 2)",
        "[part.tolist() for part in x]",
    ),
    "scipy.sparse": ("import scipy.sparse as s\nx = s.lil_matrix((2, 2))", "x[0, 1] = 5", "x.toarray().tolist()"),
}


@pytest.mark.parametrize(
    "library",
    [pytest.param(name, marks=[pytest.mark.nightly] * (name == "bokeh.plotting")) for name in LIBRARIES],
)
def test_an_object_of_a_library_is_after_a_run_what_it_would_be_here(library):
    pytest.importorskip(library)
    make, change, shown = LIBRARIES[library]
    expected, here = {}, {}
    exec(make + "\n" + change, expected)
    exec(make, here)
    names = [name for name in here if not name.startswith("__")]
    there = There(here, names)
    exec(change, there.names)
    state = there.back(here)
    assert state.missing == {}
    assert eval(shown, here) == eval(shown, expected)


def test_the_rows_of_a_dataset_travel_and_not_the_path_of_its_file(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"n": [3, 1, 2], "t": ["x", "y", "z"]})
    made.save_to_disk(tmp_path / "rows")
    here = {"rows": datasets.load_from_disk(tmp_path / "rows")}
    here["parts"] = datasets.DatasetDict(
        first=here["rows"].select([2, 0]), twice=datasets.concatenate_datasets([made, here["rows"]])
    )
    shutil.rmtree(tmp_path / "rows")
    rows, there = here["rows"], There(here)
    assert there.names["rows"].cache_files == []
    exec("seen = rows['t'], parts['first']['n'], parts['twice'].num_rows", there.names)
    exec("rows.set_format('numpy')\nmore = rows.select([1, 2])", there.names)
    state = there.back(here)
    assert (state.missing, here["rows"] is rows, rows.format["type"]) == ({}, True, "numpy")
    assert tuple(map(list, here["seen"][:2])) == (["x", "y", "z"], [2, 3])
    assert (here["seen"][2], list(here["more"]["n"])) == (6, [1, 2])
    with_pickle = pickles.loads(pickles.dumps(rows.with_format(None)))
    assert (with_pickle["t"][:], with_pickle.cache_files) == (["x", "y", "z"], [])


# What cannot travel


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ((n for n in ()), "x is a generator, which gives its values only once: make a list of it"),
        ([Box(threading.local())], "x contains a value that is a _local, which belongs to this process"),
        (NULL, "x is an open file"),
    ],
    ids=["generator", "inner", "file"],
)
def test_what_belongs_to_its_process_is_named_before_anything_is_sent(value, reason):
    with pytest.raises(UsageError) as caught:
        There({"x": value, "y": 1})
    assert str(caught.value).startswith(reason)
    assert str(caught.value).endswith("Nothing was sent.")


KEEP = ", or keep it in a session: --session NAME"
UNSENT = {
    "a generator that has started": "def make():\n    yield 1\n    yield 2\nx = make()\nnext(x)",
    "a lock": "import threading\nx = threading.Lock()",
    "a thread": "import threading\nx = threading.Thread(target=print)",
    "a queue": "import queue\nx = queue.Queue()",
    "a pool": "import concurrent.futures\nx = concurrent.futures.ThreadPoolExecutor(1)",
    "a database in memory": "import sqlite3\nx = sqlite3.connect(':memory:')",
    "a cursor": "import sqlite3\nx = sqlite3.connect('kept.db').cursor()",
    "a match": "import re\nx = re.search('a', 'banana')",
    "a reader of tables": "import csv\nx = csv.reader(['a,b'])",
    "a variable of the context": "import contextvars\nx = contextvars.ContextVar('x')",
    "a type with a name": "import typing\nx = typing.NewType('x', int)",
    "a function of items": "import numpy\nx = numpy.frompyfunc(lambda a: a + 1, 1, 1)",
    "a pen": "import PIL.Image, PIL.ImageDraw\nx = PIL.ImageDraw.Draw(PIL.Image.new('L', (2, 2)))",
    "a deep structure": "x = []\nfor _ in range(100_000): x = [x]",
}


@pytest.mark.parametrize("name", UNSENT)
def test_what_only_a_session_keeps_is_refused_before_anything_is_sent(name, notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(UNSENT[name], notebook)
    with pytest.raises(UsageError, match=rf"(?s)^x .*{KEEP}\nNothing was sent\.$"):
        There(notebook, ["x"])


def test_a_database_in_a_file_is_opened_again(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(
        "import sqlite3\nfile = sqlite3.connect('kept.db')\nfile.execute('create table f (c)')\n"
        "file.row_factory = sqlite3.Row\nclosed = sqlite3.connect(':memory:')\nclosed.close()",
        notebook,
    )
    there = There(notebook, ["file", "closed", "sqlite3"])
    exec("file.execute('insert into f values (7)')\nfile.commit()\nmemory = sqlite3.connect(':memory:')", there.names)
    state = there.back(notebook)
    assert state.missing == {"memory": f"memory is a database in memory: connect to a file instead{KEEP}"}
    assert notebook["file"].execute("select c from f").fetchone()["c"] == 7
    with pytest.raises(notebook["sqlite3"].ProgrammingError, match="closed"):
        notebook["closed"].execute("select 1")
    notebook["file"].execute("insert into f values (8)")
    with pytest.raises(UsageError, match=r"file has uncommitted changes: call commit"):
        There(notebook, ["file"])


def test_what_cannot_come_back_is_named_and_everything_else_comes():
    here = {"box": Box(1), "items": [1]}
    there = There(here)
    there.names["box"].value = threading.local()
    there.names["items"].append(2)
    there.names["gen"] = (n for n in ())
    there.names["new"] = {"a": 1}
    state = there.back(here)
    assert here["items"] == [1, 2]
    assert here["new"] == {"a": 1}
    assert here["box"].value == 1
    assert state.missing == {
        "box": f"box contains a value that is a _local, which belongs to this process: "
        f"create it in the cell that uses it{KEEP}",
        "gen": f"gen is a generator, which gives its values only once: make a list of it{KEEP}",
    }


def test_what_is_larger_than_the_limit_stays_and_says_how_to_get_it():
    there = There({"a": 1})
    there.names["big"] = np.zeros(LIMIT)
    state = there.back(here := {})
    assert here == {}
    assert "only with --out big" in state.missing["big"]


def test_an_object_that_changes_while_it_is_read_is_named():
    class Restless(dict):
        def items(self):
            yield "a", 1
            raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(UsageError, match="x changes while it is read: stop what changes it"):
        There({"x": Restless()})


def test_a_variable_that_was_changed_here_meanwhile_keeps_its_value_and_the_runs_has_another_name():
    here = {"x": 1, "y": [1]}
    there = There(here)
    there.names["x"] = 2
    here["x"] = "mine"
    there.back(here)
    assert (here["x"], here["x_from_run"]) == ("mine", 2)


def test_two_runs_that_carry_the_same_name_lose_neither_change():
    here = {"items": [1], "x": 0, "unread": 5}
    first, second = There(here), There(here)
    for number, there in enumerate((first, second), 1):
        there.names["items"].append(f"run {number}")
        there.names["x"] = number
    items = here["items"]
    first.back(here)
    second.back(here)
    assert here["items"] is items
    assert (items, here["items_from_run"]) == ([1, "run 1"], [1, "run 2"])
    assert (here["x"], here["x_from_run"]) == (1, 2)


def test_values_that_were_hashed_to_be_sent_have_the_digests_of_their_objects():
    array = np.arange(100_000.0)
    values = {"array": array, "view": array[1:], "frame": pd.DataFrame({"a": ["x", "y"]}), "items": [1, "a", None]}
    origin = add_digests(pack_state(list(values), values, [], LIMIT)).origin
    assert origin.digests == digest_objects(origin.tokens, fingerprint)
    assert len(set(origin.digests.values())) == len(origin.digests)
    values["items"][0] = 1.0
    values["frame"].loc[0, "a"] = "z"
    changed = digest_objects(origin.tokens, fingerprint)
    assert {type(origin.tokens[token]) for token in changed if changed[token] != origin.digests[token]} == {
        list,
        pd.DataFrame,
    }


def test_leaves_have_the_same_digest_when_they_have_come():
    frame = pd.DataFrame({"a": [1.5, None], "t": ["x", "y"], "c": pd.Categorical(["u", "v"]), "d": pd.NaT})
    here = {"frame": frame, "array": np.asfortranarray(np.ones((40, 50))), "index": frame.index, "s": frame.a}
    there = There(here)
    digests = Digests(there.visit._common)
    for token, value in there.visit._common.values():
        assert digests.digest(value) == there.visit._before[token]


def test_other_versions_are_named_with_their_package(monkeypatch):
    import sklearn.linear_model  # noqa: PLC0415

    parcel = pack_state(["m"], {"m": sklearn.linear_model.Ridge()}, [], LIMIT)
    found = pickles.installed_version
    monkeypatch.setattr(pickles, "installed_version", lambda name: "0.1" if name == "scikit-learn" else found(name))
    arriving = Arriving(json.loads(parcel.settings["message"]), None)
    assert list(arriving.read()) == []
    assert "m was created with other versions: scikit-learn has version 0.1 on this side" in arriving.refused["m"]


def test_no_message_of_a_run_makes_reading_raise():
    broken = {"entries": [{"k": "name", "n": "x", "of": "x", "at": 0, "packages": []}], "stream": 0}
    content = {"carry": {**broken, "nodes": [], "versions": {}, "texts": {}}, "leaves": [{"v": "gAMu"}]}
    arriving = Arriving(content, None)
    assert list(arriving.read()) == []
    assert set(arriving.refused) == {"x"}


def test_a_class_whose_module_nothing_has_imported_is_sent_by_name(monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy.rec", raising=False)  # numpy exports the class without this module
    assert len(Writer(Envelope(pickle=True)).chunk(np.recarray)) < 100


class Symbol:
    """A value without a dict, whose class makes instances with keywords, as sympy's symbols do."""

    __slots__ = ("is_real", "name")

    def __new__(cls, name, *, is_real=False):
        """Make a symbol."""
        symbol = super().__new__(cls)
        symbol.name, symbol.is_real = name, is_real
        return symbol

    def __getnewargs_ex__(self):
        return (self.name,), {"is_real": self.is_real}

    def __getstate__(self):
        return None


def test_an_instance_that_is_made_with_keywords_is_sent_and_returned():
    namespace = {"x": Symbol("x", is_real=True), "y": 1}
    run = There(namespace)
    assert run.names["x"].is_real
    run.names["y"] = [Symbol("y", is_real=True)]
    assert not run.back(namespace).missing
    assert (namespace["y"][0].name, namespace["y"][0].is_real) == ("y", True)


def test_keywords_make_no_instance_of_a_class_that_executes_programs():
    with pytest.raises(pickles.Unsafe, match="Popen"):
        MAKERS["make_instance"](subprocess.Popen, (["true"],), {})
