"""Pickles that attack, and pickles of ordinary values: what is refused before it is called, and what passes."""

import builtins
import code
import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib
import io
import logging
import operator
import os
import pathlib
import pickle
import pkgutil
import random
import re
import shutil
import subprocess
import sys
import threading
import types
import uuid
import zipfile
from contextlib import suppress
from dataclasses import dataclass

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from lk_jupyter.remote.carry.reader import Reader
from lk_jupyter.remote.values import pickle as pickles
from lk_jupyter.remote.values.pickle import Unsafe, loads


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call

    def __call__(self):
        """Let it be pickled as a function."""


def touch(path):
    return f"open({str(path)!r}, 'w').close()"


def direct(path):
    return [
        pickle.dumps(Calls(function, *arguments), protocol)
        for protocol in range(6)
        for function, arguments in (
            (os.system, (f"touch {path}",)),
            (subprocess.check_output, (["touch", str(path)],)),
            (subprocess.Popen, (["touch", str(path)],)),
            (builtins.exec, (touch(path),)),
            (builtins.eval, (touch(path),)),
            (builtins.open, (str(path), "w")),
            (io.FileIO, (str(path), "w")),
            (shutil.copy, (__file__, str(path))),
            (os.mkdir, (str(path),)),
            (pathlib.Path.touch, (path,)),
        )
    ]


def hidden(path):
    """Return the same attack behind an alias, a memo, a computed name, another pickle, or another opcode."""
    command = f"touch {path}".encode()
    text = b"\x8c" + bytes([len(command)]) + command
    inner = pickle.dumps(Calls(os.system, command.decode()))
    module = Calls(cloudpickle.cloudpickle.subimport, "os")
    late = Calls(operator.attrgetter("system"), module)
    state = b"}\x8c\x0c__setstate__\x8c\x02os\x8c\x06system\x93s"
    return {
        "nested": pickle.dumps(Calls(pickle.loads, inner)),
        "deeply nested": pickle.dumps([{"a": (Calls(pickle.loads, pickle.dumps(Calls(pickle.loads, inner))),)}]),
        "an alias of a module": b"\x80\x04\x8c\x06shutil\x8c\x09os.system\x93" + text + b"\x85R.",
        "getattr of a module": pickle.dumps(Calls(Calls(getattr, module, "system"), command.decode())),
        "attrgetter": pickle.dumps(Calls(late, command.decode())),
        "a partial that is called": pickle.dumps(Calls(functools.partial(os.system, command.decode()))),
        "a resolved name": pickle.dumps(Calls(Calls(pkgutil.resolve_name, "os:system"), command.decode())),
        "a method of a path": pickle.dumps(Calls(Calls(getattr, path, "touch"))),
        "a method of an interpreter": pickle.dumps(
            Calls(Calls(getattr, Calls(code.InteractiveInterpreter), "runsource"), touch(path))
        ),
        "a handler of a log": pickle.dumps(Calls(logging.FileHandler, str(path))),
        "a map": pickle.dumps(Calls(list, Calls(map, os.system, [command.decode()]))),
        "a memo": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x94Nh\x00" + text + b"\x85R.",
        "a memo out of order": b"(cos\nsystem\np5\n0g5\nV" + command + b"\ntR.",
        "a computed name": b"\x80\x04\x8c\x08builtins\x8c\x03str\x93\x8c\x02os\x85R\x8c\x06system\x93"
        + text
        + b"\x85R.",
        "an escaped name": b"(V\\u006fs\nVsystem\n\x93V" + command + b"\ntR.",
        "INST": b"(V" + command + b"\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nV" + command + b"\no.",
        "BUILD": b"\x80\x04\x8c\x05types\x8c\x0fSimpleNamespace\x93)R" + state + b"b" + text + b"b.",
        "a broken end": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R\xff",
        "two pickles": pickle.dumps(1) + pickle.dumps(Calls(os.system, command.decode())),
    }


NAMES = list(hidden(pathlib.Path("x")))


def test_a_pickle_that_calls_a_command_a_file_or_code_is_refused_before_that_happens(tmp_path):
    path = tmp_path / "attacked"
    for attack in direct(path):
        with pytest.raises(Unsafe, match=r"calls '[\w.]+', which isn't allowed in a value"):
            loads(attack)
        assert not path.exists()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "two pickles"])
def test_an_attack_that_hides_its_call_is_refused(name, tmp_path):
    path = tmp_path / "attacked"
    with pytest.raises((Unsafe, pickle.UnpicklingError, TypeError, AttributeError)):
        loads(hidden(path)[name])
    assert not path.exists()


def read_all(reader):
    while True:
        reader.load()


def test_the_state_of_a_carry_run_is_refused_too(tmp_path):
    path = tmp_path / "attacked"
    for attack in (*direct(path), *hidden(path).values()):
        reader = Reader(attack, {"nodes": [], "leaves": []}, None)
        with pytest.raises((Unsafe, pickle.UnpicklingError, TypeError, AttributeError, EOFError)):
            read_all(reader)
        assert not path.exists()


def test_bytes_at_random_raise_or_are_values_and_execute_nothing(tmp_path):
    path, draw = tmp_path / "attacked", random.Random(0)
    bases = [*direct(path)[:10], *hidden(path).values()]
    for _ in range(2000):
        attack = bytearray(draw.choice(bases))
        for _ in range(draw.randint(1, 4)):
            attack[draw.randrange(len(attack))] = draw.randrange(256)
        with suppress(Exception):  # whatever damaged bytes raise
            loads(bytes(attack))
        assert not path.exists()


class Color(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: int
    items: list

    def method(self):
        return self.x

    @classmethod
    def default(cls):
        return cls(0, [])


def uses_commands(name):
    return subprocess.run([name], check=True), shutil.which(name), importlib.import_module(name), os.getpid()


def closure():
    run, remove, getter = subprocess.run, shutil.rmtree, operator.attrgetter("x")
    return lambda: (run, remove, getter)


def local_class():
    class Local:
        run = staticmethod(subprocess.run)

        def __setstate__(self, state):
            self.__dict__ = state

    return Local()


def sklearn_model():
    linear_model = pytest.importorskip("sklearn.linear_model")
    return linear_model.LinearRegression().fit([[0], [1]], [0, 1])


def torch_module():
    torch = pytest.importorskip("torch")
    return [torch.nn.Linear(2, 2), torch.arange(3), torch.optim.SGD(torch.nn.Linear(1, 1).parameters())]


def statsmodels_results():
    api = pytest.importorskip("statsmodels.api")
    return api.OLS([1.0, 2.0, 4.0], [[1.0, 1], [1, 2], [1, 3]]).fit()


FRAME = pd.DataFrame({"a": [1, 2], "t": pd.to_datetime(["2026-01-01", "2026-01-02"]), "s": ["x", "y"]})

VALUES = {
    "numbers": lambda: [1, 1 << 80, 2.5, 1j, True, None],
    "texts": lambda: {"a": "ü" * 9, b"b": bytearray(b"x")},
    "sets": lambda: {1, frozenset({2})},
    "decimal and fraction": lambda: (decimal.Decimal("1.5"), fractions.Fraction(1, 3)),
    "dates": lambda: [dt.datetime.now(dt.timezone.utc), dt.timedelta(1)],
    "uuid and path": lambda: [uuid.uuid4(), pathlib.Path("a/b")],
    "ordered": lambda: collections.OrderedDict(a=1),
    "counter": lambda: collections.Counter("abca"),
    "default dict": lambda: collections.defaultdict(list, a=[1]),
    "deque": lambda: collections.deque([1], 3),
    "pattern": lambda: re.compile("a+"),
    "range and slice": lambda: [range(3), slice(1, 2)],
    "enum": lambda: Color.RED,
    "data class": lambda: Point(1, [2]),
    "bound method": lambda: Point(1, []).method,
    "class method": lambda: Point.default,
    "class": lambda: Point,
    "class of a function": local_class,
    "function that refers to commands": lambda: uses_commands,
    "lambda": lambda: lambda x: x + 1,
    "closure over commands": closure,
    "functions by name": lambda: [subprocess.run, shutil.copy, os.path.join, importlib.import_module, print],
    "methods of a class": lambda: [pathlib.Path.exists, pathlib.Path("a").exists, str.join],
    "partial of a command": lambda: functools.partial(subprocess.run, check=True),
    "attrgetter": lambda: [operator.attrgetter("a"), operator.itemgetter(1), operator.methodcaller("f")],
    "stat result": lambda: pathlib.Path().stat(),
    "module": lambda: types.SimpleNamespace(module=os),
    "exception": lambda: ValueError("a", 1),
    "error of a file": lambda: FileNotFoundError(2, "none", "x"),
    "error of a command": lambda: subprocess.CalledProcessError(1, ["x"]),
    "array": lambda: np.arange(6).reshape(2, 3),
    "structured array": lambda: np.zeros(2, [("a", "i4")]),
    "array of objects": lambda: np.array([Point(1, []), "x"], object),
    "random state": lambda: [np.random.default_rng(1), random.Random(1)],
    "frame": lambda: FRAME,
    "series with categories": lambda: pd.Series(["a", "b"], dtype="category"),
    "groups of a frame": lambda: FRAME.set_index("s"),
    "method of a frame": lambda: FRAME.sum,
    "model of sklearn": sklearn_model,
    "module of torch": torch_module,
    "results of statsmodels": statsmodels_results,
}


@pytest.mark.parametrize("name", VALUES)
def test_a_legitimate_value_passes(name, monkeypatch):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(pickles, "_harmless", set())
    try:
        for protocol in (3, 4, 5):
            loads(cloudpickle.dumps(VALUES[name](), protocol))
        loads(pickles.dumps(VALUES[name]()))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_large_pickle_is_read_without_a_copy_of_it():
    content = pickle.dumps({"a": b"x" * 3_000_000, "b": list(range(300_000)), "c": "y"})
    for protocol in range(2, 6):
        value = pickle.loads(content)
        assert loads(pickle.dumps(value, protocol)) == value


def test_an_attack_in_a_file_of_torch_stays_bytes(tmp_path):
    """A file of ``torch.save`` is a zip with a pickle in it. As a value it is bytes, which aren't read as a pickle."""
    path = tmp_path / "attacked"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Calls(os.system, f"touch {path}")))
        archive.writestr("archive/data/0", b"\0" * 50_000_000)
    assert loads(pickle.dumps(file.getvalue())) == file.getvalue()
    assert not path.exists()


def test_an_attack_in_the_storage_of_a_tensor_is_refused(tmp_path):
    torch, path = pytest.importorskip("torch"), tmp_path / "attacked"
    inner = pickle.dumps(Calls(os.system, f"touch {path}"))
    with pytest.raises(Unsafe, match=r"calls '(posix|nt).system'"):
        loads(pickle.dumps(Calls(torch.storage._load_from_bytes, inner)))
    assert not path.exists()


def test_threads_read_pickles_at_the_same_time():
    content, read = cloudpickle.dumps([uses_commands, FRAME]), []
    threads = [threading.Thread(target=lambda: read.append(len(loads(content)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [2] * 8
