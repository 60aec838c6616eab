"""Variables go with a run and come back, on the local cloud: each kind once from end to end."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import sys
import threading
import time
import tracemalloc
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

import lk_jupyter
from lk_jupyter.code.source import Source
from lk_jupyter.code.variables import read_by
from lk_jupyter.config import consents
from lk_jupyter.errors import RunFailed, StorageError, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol import bucket
from lk_jupyter.protocol.bucket import KEPT, VALUES
from lk_jupyter.remote import ambient
from lk_jupyter.remote.carry.nameless import FILES
from lk_jupyter.remote.values import codec, envelope, transfer
from lk_jupyter.runs.history.rerun import rebuild_run
from lk_jupyter.runs.observers.results import Returned
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.runs.returned import read_changes
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit import upload
from lk_jupyter.runs.submit.upload import clean_up
from lk_jupyter.runs.variables.chunks import PIECE, iterate_pieces
from lk_jupyter.runs.variables.download import CHANGED, download_outputs, leaf_reader
from lk_jupyter.runs.variables.fingerprint import fingerprint
from lk_jupyter.runs.variables.payload import pack_state, pack_values, settings_in
from lk_jupyter.runs.variables.state import ChangedState, recall

MEGABYTES = np.arange(300_000.0)

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def session(cloud):
    with closing(lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key)) as connected:
        yield connected


def run(session, code, **options):
    started = session.run(code, gpu="L40S", **options)
    started.result()
    return started


def bundle_of(session, namespace, **options):
    source = Source("pass", namespace=namespace)
    return prepare(session, source, RunOptions(inputs=list(namespace), machine="cpu", **options))


# From end to end


VALUES_OF_EACH_KIND = {
    "plain": {"größe": (1, {2.5}), "none": None},
    "frame": pd.DataFrame(
        {"a": [1.5, None], "t": ["x", "ü"], "z": pd.date_range("2026", periods=2, tz="Europe/Berlin")}
    ),
    "large_series": pd.Series(MEGABYTES, name="large"),
    "polars": pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
    "arrow": pa.table({"a": [1, None]}),
    "array": MEGABYTES.reshape(2, -1).T,
    "arrays": [MEGABYTES[:1000] + n for n in range(20)],
    "text": "ü" * 2_000_000,
}


def test_values_of_each_kind_go_there_and_come_back(session):
    names = [f"same_{kind}" for kind in VALUES_OF_EACH_KIND]
    code = "\n".join(f"same_{kind} = {kind}" for kind in VALUES_OF_EACH_KIND)
    out = run(session, code, inputs=VALUES_OF_EACH_KIND, outputs=names).outputs()
    for kind, value in VALUES_OF_EACH_KIND.items():
        back = out[f"same_{kind}"]
        assert type(back) is type(value)
        if isinstance(value, (pd.DataFrame, pd.Series, pl.DataFrame, pa.Table)):
            assert back.equals(value)
        elif isinstance(value, list):
            assert all(map(np.array_equal, back, value))
        else:
            assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value


def test_the_code_can_change_what_came_and_here_it_stays(session):
    frame = pd.DataFrame({"a": MEGABYTES})
    code = "frame.loc[0, 'a'] = 7\nframe['b'] = array.sum()\narray[0] = 1"
    out = run(session, code, inputs={"frame": frame, "array": np.zeros(200_000)}, outputs="frame, array").outputs()
    assert (out["frame"].loc[0, "a"], out["frame"].loc[0, "b"], out["array"][0]) == (7, 0, 1)
    assert list(frame.columns) == ["a"]
    out["array"][1] = 5
    out["frame"].loc[1, "a"] = 5


def test_a_search_for_garbage_in_a_run_leaves_out_libraries_and_finds_what_came(session):
    ring = [1]
    ring.append(ring)
    code = "import gc\nlibraries = gc.get_freeze_count()\ngc.collect()\ndel ring\nfound = gc.collect()"
    inputs = {"ring": ring, "frame": pd.DataFrame({"a": [1]})}
    out = run(session, code, inputs=inputs, outputs="libraries, found").outputs()
    assert out["libraries"] > 50_000  # at the end of a process the search of these takes as long as a start of Python
    assert out["found"] == 1


def test_two_names_of_one_object_stay_one_and_names_may_be_in_any_alphabet(session):
    shared = [1]
    inputs = {"a": shared, "b": shared, "größe": 3}
    out = run(session, "a.append(2)\nc = b\ngröße *= 2", inputs=inputs, outputs=["a", "c", "größe"]).outputs()
    assert (out["a"], out["größe"]) == ([1, 2], 6)
    assert out["c"] is out["a"]


def test_what_comes_back_is_cut_into_slots_and_put_together(session, monkeypatch):
    sizes = (1_000_000, 100_000, 1_000_000, 3_000_000)
    monkeypatch.setattr("lk_jupyter.runs.variables.payload.SLOTS", sizes)
    monkeypatch.setattr("lk_jupyter.runs.variables.download.SLOTS", sizes)
    monkeypatch.setattr(
        "lk_jupyter.runs.variables.download._STARTS", [0, *(sum(sizes[: n + 1]) for n in range(len(sizes)))]
    )
    out = run(session, "one = big\nother = big + 1", inputs={"big": MEGABYTES[:200_000]}, outputs="one,other").outputs()
    assert np.array_equal(out["one"] + 1, out["other"])
    failed = session.run("big = bytes(9_000_000)", outputs=["big"], gpu="L40S")
    with pytest.raises(RunFailed):
        failed.result()
    assert "could not be returned: the total size is above" in failed.record.stderr


# What does not come


def test_a_missing_and_an_unsendable_output_are_named_and_the_others_come(session):
    out = run(session, "good = 1\nbad = (n for n in [])", outputs=["good", "bad", "none"]).outputs()
    assert out == {"good": 1}
    assert out.missing == {
        "bad": "bad is a generator, which gives its values only once: make a list of it",
        "none": "none was not set",
    }


def test_after_an_error_what_was_there_comes(session):
    failed = session.run("best = 1\nbest = 1 / 0", outputs=["best", "later"], gpu="L40S")
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        failed.result()
    out = failed.outputs()
    assert out == {"best": 1}
    assert list(out.missing) == ["later"]


def test_a_run_that_was_killed_says_so(session):
    killed = session.run("import os; best = 1; print('on', flush=True); os._exit(3)", outputs=["best"], gpu="L40S")
    assert killed.outputs().missing == {"best": "best didn't arrive, because the run finished before sending it"}


def test_a_run_that_was_asked_for_nothing_has_no_outputs(session):
    assert run(session, "x = 1").outputs() == {}


def test_a_missing_package_is_one_line_before_the_code_starts(session, tmp_path, monkeypatch):
    (tmp_path / "absent_over_there.py").write_text("def act(): return 1")
    monkeypatch.syspath_prepend(tmp_path)
    import absent_over_there  # noqa: PLC0415

    failed = session.run("print('ran')", inputs={"f": absent_over_there.act}, gpu="L40S")
    with pytest.raises(RunFailed):
        failed.result()
    assert "f needs absent_over_there, which is not installed: add --files for your own module" in failed.record.stderr
    assert "-r absent_over_there" not in failed.record.stderr  # nobody knows who owns a package of that name
    assert "Traceback" not in failed.record.stderr
    assert "ran" not in (failed.record.stdout or "")


def test_a_value_whose_package_this_notebook_lacks_names_the_installation_on_this_side(monkeypatch):
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")
    reason = "not installed in this notebook: %pip install torch, and run the cell again"
    assert envelope.missing_package(missing, "model") == f"needs torch, which is {reason}"
    module = "is a module that the run has but this notebook doesn't have: %pip install torch"
    assert envelope.missing_package(missing, "torch") == module
    own_module = ModuleNotFoundError("No module named 'absent_here'", name="absent_here")
    assert "%pip" not in envelope.missing_package(own_module, "model")  # nobody knows who owns a package of that name
    monkeypatch.setattr(envelope, "_IN_RUN", "lk_jupyter.")
    assert envelope.missing_package(missing, "model") == "needs torch, which is not installed: add -r torch"
    assert envelope.missing_package(missing, "torch") == "is not installed: add -r torch"


def test_what_cannot_be_sent_is_named_before_anything_is_sent(session):
    before = len(journal().entries())
    with pytest.raises(UsageError) as caught:
        session.run("pass", inputs={"lock": threading.Lock(), "gen": iter([]), "fine": 1}, gpu="L40S")
    lock, *_ = str(caught.value).splitlines()
    assert lock == "lock is a lock, which belongs to this process: create it in the cell that uses it"
    assert "gen is an iterator" in str(caught.value)
    assert len(journal().entries()) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": ["datas"]}, r"--in: this notebook has no variable datas. Nothing was sent. Did you mean data\?"),
        ({"inputs": ["a b"]}, "--in takes variable names"),
        ({"outputs": ["1x"]}, "--out takes variable names, for example df,model. '1x' isn't a variable name"),
        ({"outputs": ["class"]}, "--out takes variable names"),
    ],
)
def test_names_are_checked_before_anything_is_sent(session, options, said):
    with pytest.raises(UsageError, match=said):
        prepare(session, Source("pass", namespace={"data": 1}), RunOptions(machine="cpu", **options))


# The bucket is the organization's: members and runs can write there


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


#: Values whose message is too long for the log.
MANY = "import numpy as np; x = [np.arange(400.0) + n for n in range(20)]"


@pytest.mark.parametrize(
    "value", ["x = 1", "import numpy as np; x = np.arange(300_000.0)", MANY], ids=["small", "large", "many"]
)
def test_a_member_who_overwrites_what_a_run_sent_back_sets_nothing_here(session, value, tmp_path):
    started = run(session, value, outputs=["x"], pickle=True)
    message = envelope.Envelope(pickle=True)
    message.add("x", Evil(tmp_path / "ran"))
    returned = bucket.returned_key(started.bundle.token, "values")
    assert started.outputs().missing == {}
    slot = bucket.returned_key(started.bundle.token, 0)
    if session.storage.exists(slot):
        session.storage.put(bytes(session.storage.info(slot).size), slot)
        assert started.outputs().missing == {"x": f"x {CHANGED}"}
    assert session.storage.exists(returned) == (value == MANY)
    session.storage.put(message.text().encode(), returned)
    assert started.outputs().missing == ({} if value == "x = 1" else {"x": f"x {CHANGED}"})
    assert not (tmp_path / "ran").exists()


def test_what_was_deleted_from_the_bucket_is_named_and_the_other_values_are_set(session):
    code = f"{MANY}; import os; small, large, larger = 7, os.urandom(3 << 20), os.urandom(4 << 20)"
    started = run(session, code, outputs=["small", "large", "larger", "x"], pickle=True)
    assert started.outputs().missing == {}
    slot = bucket.returned_key(started.bundle.token, 0)
    session.storage.remove(slot)
    found = started.outputs()
    deleted = {name: f"{name} was deleted from the bucket: {slot}" for name in ("large", "larger")}
    assert found["small"] == 7
    assert found.missing == deleted
    returned = bucket.returned_key(started.bundle.token, "values")
    session.storage.remove(returned)
    assert started.outputs(names=["small"]).missing == {"small": f"small was deleted from the bucket: {returned}"}


def test_changes_that_were_deleted_from_the_bucket_are_named(session):
    started = run(session, MANY, carry=True)
    returned = bucket.returned_key(started.bundle.token, "values")
    session.storage.remove(returned)
    missing = read_changes(started).missing
    assert missing == {"state": f"The record of the changed variables was deleted from the bucket: {returned}"}


def test_a_colleagues_run_sets_no_variable_here_and_unpickles_nothing(session, tmp_path, monkeypatch):
    code = (
        f"class Evil:\n    def __reduce__(self): return open, ({str(tmp_path / 'ran')!r}, 'w')\nevil, plain = Evil(), 7"
    )
    with monkeypatch.context() as colleague:
        colleague.setenv("LK_JOURNAL", str(tmp_path / "colleague.sqlite"))
        theirs = run(session, code, outputs=["evil", "plain"], pickle=True).execution_id
    found = session.get(theirs)
    mine = {"plain": "as it was"}
    (said,) = Returned(mine).ended(found, found.record)
    assert mine == {"plain": "as it was"}
    assert str(said).endswith(
        "so no variable was set. To set its output variables in this notebook: %lk_attach "
        f"{theirs[:8]} --out evil,plain"
    )
    said = Returned(mine, ["evil", "plain"]).ended(found, found.record)
    assert mine == {"plain": 7}
    assert "--pickle was not given" in str(said[1])
    assert not (tmp_path / "ran").exists()


class Bucket:
    """A bucket with one message in it."""

    def __init__(self, message):
        self.message = message

    def get_bytes(self, _key):
        return self.message

    def get_into(self, _key, part, _start):
        part[:] = bytes(len(part))


def received(message, **how):
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    said = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    return download_outputs(Bucket(text), "token", ["x"], said, **{"pickle": False, "is_trusted": False, **how})


@pytest.mark.parametrize(
    "node",
    [
        {"t": "global", "m": "os", "q": "system"},
        {"t": "defaultdict", "f": {"t": "global", "m": "os", "q": "abort"}, "o": {}},
        {"t": "enum", "c": {"t": "global", "m": "http", "q": "HTTPStatus"}, "v": 200},
        {"t": "pickle", "leaf": 0},
        {"t": "list", "v": [{"t": "global", "m": "builtins", "q": "eval"}]},
    ],
    ids=["function", "factory", "class", "pickle", "inner"],
)
def test_a_colleagues_run_gives_no_code_that_a_later_line_would_call(node):
    found = received({"values": {"x": node}, "leaves": [{"v": "gASV"}], "refused": {}})
    assert dict(found) == {}
    assert "contains code" in found.missing["x"] or "is pickled" in found.missing["x"]


NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["v", "leaf", "id", "n", "m", "q", "f", "c", "z", "o", "d", "k", "fill"]), inner
        )
        | st.fixed_dictionaries(
            {"t": st.sampled_from([*codec._READ, "same", "numpy.array", "numpy.scalar", "pandas.DataFrame", "x", 5])},
            optional=dict.fromkeys(("v", "leaf", "id", "n", "m", "q", "f", "c", "z", "o", "d"), inner),
        )
    ),
    max_leaves=12,
)
LEAVES = st.lists(
    st.fixed_dictionaries({}, optional={"v": st.text(max_size=8), "size": st.integers(-5, 5000), "at": st.integers()})
)


@given(
    st.binary(max_size=50)
    | st.fixed_dictionaries(
        {"values": st.just({}) | st.fixed_dictionaries({"x": NODES}), "leaves": LEAVES, "refused": st.just({}) | NODES}
    )
)
def test_no_values_raise(message):
    found = received(message)
    assert set(found) | set(found.missing) == {"x"}
    assert all(isinstance(reason, str) for reason in found.missing.values())


def test_a_member_who_overwrites_a_variable_on_its_way_executes_nothing_in_the_run(session, tmp_path, monkeypatch):
    monkeypatch.setattr(upload, "upload_links", overwriting(upload.upload_links, tmp_path))
    failed = session.run(
        "print('ran')", inputs={"a": list(MEGABYTES[:50_000]), "f": lambda: 1}, pickle=True, gpu="L40S"
    )
    with pytest.raises(RunFailed):
        failed.result()
    assert "another program changed .lk/v/" in failed.record.stderr
    assert "ran" not in (failed.record.stdout or "")
    assert not (tmp_path / "ran").exists()
    for found in session.storage.ls(bucket.VALUES):
        session.storage.remove(found.key)  # the next test sends what was overwritten


def test_a_member_who_overwrites_a_part_of_a_large_variable_is_reported_with_the_object(session, monkeypatch):
    changed = []

    def overwrite_last(storage, settings, bundle):
        key, size = settings["blobs"][-1]
        changed.append(key)
        storage.put(bytes(size), bucket.VALUES + key)
        return links(storage, settings, bundle)

    links = upload.upload_links
    monkeypatch.setattr(upload, "upload_links", overwrite_last)
    failed = session.run("print(array[0])", inputs={"array": np.arange(1_300_000.0) + time.time()}, gpu="L40S")
    with pytest.raises(RunFailed):
        failed.result()
    assert f"another program changed .lk/v/{changed[0]} in the bucket" in failed.record.stderr


def overwriting(links, tmp_path):
    """Return what makes the links, after which somebody writes other values to where they lead."""

    def made(storage, settings, package):
        for key, size in settings["blobs"]:
            evil = pickle.dumps(Evil(tmp_path / "ran"))
            storage.put(evil.ljust(size, b"."), bucket.VALUES + key)
        return links(storage, settings, package)

    return made


# Pickle


def test_pickles_are_only_made_and_read_where_that_was_asked_for(session):
    import decimal  # noqa: PLC0415

    context = decimal.Context(prec=7)
    with pytest.raises(UsageError, match=r"context is a decimal.Context, which can't be sent.*--pickle"):
        session.run("pass", inputs={"context": context}, gpu="L40S")
    back = run(session, "pass", inputs={"context": context}, outputs=["context"], pickle=True).outputs()
    assert back["context"].prec == 7


def test_a_function_of_the_notebook_goes_pickled(session):
    factor = 3
    out = run(session, "y = f(2)", inputs={"f": lambda x: x * factor}, outputs=["y"], pickle=True).outputs()
    assert out == {"y": 6}


def test_other_versions_are_refused_by_name(session, monkeypatch):
    import sklearn.linear_model  # noqa: PLC0415

    from lk_jupyter.remote.values import pickle as pickles  # noqa: PLC0415

    found = pickles.installed_version
    monkeypatch.setattr(pickles, "installed_version", lambda name: "0.1" if name == "scikit-learn" else found(name))
    failed = session.run("print('ran')", inputs={"m": sklearn.linear_model.Ridge()}, pickle=True, gpu="L40S")
    with pytest.raises(RunFailed):
        failed.result()
    assert (
        f"m is pickled, and scikit-learn has version {sklearn.__version__} on this side, and 0.1 on the other side"
        in failed.record.stderr
    )
    assert "ran" not in (failed.record.stdout or "")


# State travels with --carry


def test_what_a_cell_reads_goes_and_what_it_changes_comes_back_without_names(session):
    frame, items = pd.DataFrame({"a": MEGABYTES}), [1]
    code = "frame['b'] = frame.a * 2\nitems.append(len(unread.a))\ndel gone\ntotal = float(frame.b.sum())"
    inputs = {"frame": frame, "items": items, "unread": frame.head(3), "gone": 1, "lock": threading.Lock()}
    started = run(session, code, inputs=inputs, carry=True)
    assert [sent.name for sent in started.bundle.payload.inputs] == ["frame", "gone", "items", "unread"]
    out = started.outputs()
    assert sorted(out) == ["frame", "items", "total"]
    assert (out["items"], out["total"], list(out["frame"].columns)) == ([1, 3], MEGABYTES.sum() * 2, ["a", "b"])
    assert (items, list(frame.columns)) == ([1], ["a"])  # copies: only a notebook has its objects changed
    assert read_changes(started).deleted == ["gone"]


def test_a_run_with_plain_variables_does_not_import_what_only_definitions_need(session):
    code = "import sys\nitems.append(2)\nslow = sorted({'cloudpickle', 'dis', 'logging'} & sys.modules.keys())"
    started = run(session, code, inputs={"items": [1]}, carry=True)
    assert started.outputs()["slow"] == []


def test_classes_that_compare_in_a_way_of_their_own_end_no_run(session):
    code = "class Kind(type):\n    def __eq__(self, other): 1 / 0\nclass Odd(metaclass=Kind): pass\nitems.append(2)"
    started = run(session, code, inputs={"items": [1]}, carry=True)
    assert started.outputs()["items"] == [1, 2]


def test_state_of_a_run_is_found_again_by_who_has_its_journal(session, cloud):
    started = run(session, "items.append(2)", inputs={"items": [1], "big": MEGABYTES}, carry=True)
    with lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key) as other:
        assert other.get(started.execution_id).outputs() == {"items": [1, 2]}


def test_a_member_who_forges_the_state_of_a_run_changes_nothing_here(session, tmp_path):
    code = f"{MANY}\nmany, x = x, big * 2\nitems.append(1)"
    started = run(session, code, inputs={"big": MEGABYTES, "items": []}, carry=True)
    token = started.bundle.token
    assert sorted(started.outputs()) == ["items", "many", "np", "x"]
    slot = bucket.returned_key(token, 0)
    session.storage.put(bytes(session.storage.info(slot).size), slot)
    out = started.outputs()
    assert (out["items"], len(out["many"])) == ([1], 20)  # which are in the message
    assert CHANGED in out.missing["x"]
    stream = pickle.dumps(Evil(tmp_path / "ran"), 3)
    entry = {"k": "name", "n": "x", "of": "x", "at": 0, "packages": []}
    told = {"entries": [entry], "stream": 0, "nodes": [], "versions": {}, "texts": {}}
    told.update(refused={}, sizes={}, gone=["items"], ambient={"random": codec.encode_leaf_text(lambda s: s(stream))})
    leaves = [{"v": codec.encode_leaf_text(lambda sink: sink(stream)), "size": len(stream)}]
    forged = json.dumps({"values": {}, "leaves": leaves, "refused": {}, "carry": told})
    session.storage.put(forged.encode(), bucket.returned_key(token, "values"))
    out = started.outputs()
    assert dict(out) == {}
    assert CHANGED in out.missing["state"]
    assert not (tmp_path / "ran").exists()


def test_a_member_who_overwrites_state_on_its_way_executes_nothing_in_the_run(session, tmp_path, monkeypatch):
    monkeypatch.setattr(upload, "upload_links", overwriting(upload.upload_links, tmp_path))
    failed = session.run("print('ran', len(a))", inputs={"a": MEGABYTES + 7}, carry=True, gpu="L40S")
    with pytest.raises(RunFailed):
        failed.result()
    assert "another program changed .lk/v/" in failed.record.stderr
    assert "ran" not in (failed.record.stdout or "")
    assert not (tmp_path / "ran").exists()
    for found in session.storage.ls(VALUES):
        session.storage.remove(found.key)  # the next test sends what was overwritten


def test_a_colleagues_state_is_not_read(session, tmp_path, monkeypatch):
    with monkeypatch.context() as colleague:
        colleague.setenv("LK_JOURNAL", str(tmp_path / "colleague.sqlite"))
        theirs = run(session, "x = [1]", inputs={"y": 1}, carry=True).execution_id
    found = session.get(theirs)
    mine = {}
    Returned(mine).ended(found, found.record)
    assert mine == {}
    assert found.outputs() == {}
    with pytest.raises(
        UsageError, match="wasn't started from this machine with --sync, so its variables can't be read"
    ):
        read_changes(found)


def test_a_small_file_that_the_cell_names_goes_along_and_is_in_the_plan(session, tmp_path):
    folder = tmp_path / "book"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "rows.csv").write_text("a,b")
    (folder / "seen.txt").write_text("c")
    (folder / "large.csv").write_text("x" * 5_000_001)
    (tmp_path / "near.csv").write_text("d")
    code = "open('data/rows.csv'), open('large.csv'), '../rows', 'absent.csv', 'data', '../near.csv'\n!cat seen.txt"
    source = Source(code, folder=folder, is_cell=True)
    package = prepare(session, source, RunOptions(sync=True, machine="cpu"))
    assert package.files == {"data/rows.csv": "a,b", "seen.txt": "c"}
    assert package.rest == {"files": {"../near.csv": "ZA=="}, "folders": ["data"]}
    assert prepare(session, source, RunOptions(fresh=True, machine="cpu")).files == {}


def test_paths_below_the_folder_and_files_that_values_name_are_there_in_the_run(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/rows.csv").write_text("a,b")
    Path("log.txt").write_text("c")
    root = tmp_path.resolve()
    namespace = {
        "root": root,
        "settings": {"log": f"{root}/log.txt", "of": [{"name": "data/rows.csv"}]},
        "others": [Path("/usr"), f"{root}/.cache/x", f"{root}2/y", "/", root.parent],
    }
    others = list(namespace["others"])
    code = """import os
from pathlib import Path
first = root / settings["of"][0]["name"]
found = [root == Path.cwd(), first.read_text(), open(settings["log"]).read(), [str(other) for other in others]]
settings["made"] = os.path.abspath("made.txt")
Path(settings["made"]).write_text("d")"""
    started = run(session, code, inputs=namespace, carry=True)
    out = started.outputs()
    assert out["found"] == [True, "a,b", "c", list(map(str, others))]
    assert (out["first"], out["settings"]["made"]) == (root / "data" / "rows.csv", str(root / "made.txt"))


def test_modules_in_folders_that_the_notebook_added_to_the_path_go_along(session, tmp_path, monkeypatch):
    folder = tmp_path / "book"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "helper_of_mine.py").write_text("import helper_above")
    (tmp_path / "helper_above.py").write_text("VALUE = 3")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, "own", ".."])
    source = Source("import helper_of_mine", folder=folder, is_cell=True)
    package = prepare(session, source, RunOptions(sync=True, requirements=["auto"], machine="cpu"))
    assert sorted(package.uploads) == ["../helper_above.py", "own/helper_of_mine.py"]
    assert not package.request.requirements_content


def test_a_cell_that_looks_at_all_names_gets_those_that_can_travel(session):
    namespace = {"a": 1, "b": [2], "own": threading.local()}
    for code in (
        "sorted(globals())",
        "%whos",
        "import doctest\ndoctest.testmod()",
        "import unittest\nunittest.main(argv=[''])",
    ):
        source = Source(code, namespace=namespace, is_cell=True)
        package = prepare(session, source, RunOptions(sync=True, machine="cpu"))
        assert [sent.name for sent in package.payload.inputs] == ["a", "b"]


def test_a_secret_in_the_environment_is_asked_about_and_one_by_name_stays(session, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "0123456789")
    monkeypatch.setenv("MODE", "lk_" + "a1B2" * 10)
    package = prepare(session, Source("x = 1"), RunOptions(sync=True, machine="cpu"))
    assert "variable os.environ['MODE']" in str(package.secrets[0])
    assert "MY_API_KEY" not in ambient.changed_environment()


def test_large_variables_are_asked_about_before_they_travel_by_themselves(session, uploads, monkeypatch):
    monkeypatch.setenv("LK_CARRY_LIMIT", "1000000")
    inputs = {"big": MEGABYTES, "small": 1}
    with pytest.raises(
        UsageError, match=r"The cell reads these variables, 2.4 MB in total: big .*Nothing was sent. Send them: --in"
    ):
        session.run("print(big[0], small)", inputs=inputs, carry=True, gpu="L40S")
    assert uploads == []
    source = Source("print(big[0], small)", namespace=inputs)
    package = prepare(session, source, RunOptions(sync=True, machine="cpu"))
    assert require_consent([package], lambda question: "Send them?" in question)[0].payload.size_allowed
    named = prepare(session, source, RunOptions(sync=True, inputs=["big"], machine="cpu"))
    assert require_consent([named]) == [named]


def test_a_bucket_that_takes_no_variables_starts_no_run(session, monkeypatch):
    def full(source, key, **_options):
        raise StorageError(f"The bucket refused '{key}': it is full (InternalError).")

    monkeypatch.setattr(session.storage, "put", full)
    before = session.client.billing.history(limit=1).total
    with pytest.raises(StorageError, match=r"it is full .* so the code wasn't run"):
        session.run("print(len(big))", inputs={"big": MEGABYTES + 9}, carry=True, gpu="L40S")
    assert session.client.billing.history(limit=1).total == before


def test_what_a_full_bucket_does_not_take_is_named_and_small_variables_come_back(session, monkeypatch):
    links_of = upload.upload_links

    def refused(*given):
        links = links_of(*given)
        return {
            **links,
            "outputs": [link.replace("X-Amz-Signature=", "X-Amz-Signature=0") for link in links["outputs"]],
        }

    monkeypatch.setattr(upload, "upload_links", refused)
    code = "x = [n + 1]\nbig = list(map(str, range(10_000)))\nopen('w.txt', 'w').close()"
    code += "\nown = __import__('threading').local()"
    out = run(session, code, inputs={"n": 1}, carry=True).outputs()
    assert dict(out) == {"x": [2]}
    assert out.missing["big"].startswith("big could not be returned: the links to the bucket have expired")
    assert out.missing["w.txt"].startswith("w.txt could not be returned: ")
    assert out.missing["own"].startswith("own is a _local, which belongs to this process: create it")


# Sent once


@pytest.fixture
def uploads(session, monkeypatch):
    """The keys that are written to the bucket from here."""
    keys = []
    put = session.storage.put

    def record_put(source, key, **options):
        keys.append(key)
        return put(source, key, **options)

    monkeypatch.setattr(session.storage, "put", record_put)
    return keys


def test_what_has_not_changed_is_not_sent_again_and_what_has_changed_in_place_is(session, uploads):
    array = np.random.default_rng().random(200_000)
    run(session, "pass", inputs={"array": array})
    assert len(uploads) == 1
    run(session, "pass", inputs={"other": array.copy()})
    assert len(uploads) == 1
    array[100_000] += 1
    out = run(session, "last = array[100_000]", inputs={"array": array}, outputs=["last"]).outputs()
    assert len(uploads) == 2
    assert out["last"] == array[100_000]


@pytest.mark.nightly  # returned: below
def test_only_the_changed_column_of_a_large_frame_is_uploaded_again(session, uploads):
    rows = 1_250_000
    frame = pd.DataFrame({name: np.arange(rows) + at for at, name in enumerate("abc")})
    code, namespace = "print(frame.sum().tolist())", {"frame": frame}
    run(session, code, sync=True, inputs=namespace)
    first = set(uploads)
    frame["a"] += 10
    result = run(session, code, sync=True, inputs=namespace)
    assert result.record.stdout.startswith(f"{frame.sum().tolist()}\n")
    sizes = [session.storage.info(key).size for key in set(uploads) - first]
    assert frame["a"].nbytes <= sum(sizes) < frame["a"].nbytes + 1000


def test_only_the_changed_column_of_a_large_frame_is_returned(session, monkeypatch):
    rows = 1_250_000
    frame = pd.DataFrame({name: np.arange(rows) + at for at, name in enumerate("abc")})
    expected, downloads = frame.assign(a=frame["a"] + 1), []
    started = run(session, "frame['a'] += 1", sync=True, inputs={"frame": frame})
    size = session.storage.info(bucket.returned_key(started.bundle.token, 0)).size
    assert frame["a"].nbytes <= size < frame["a"].nbytes + 1000
    get_into = session.storage.get_into
    monkeypatch.setattr(
        session.storage,
        "get_into",
        lambda key, view, *start: downloads.append(len(view)) or get_into(key, view, *start),
    )
    origin = recall(started.bundle.token)
    read_changes(started, origin)
    assert frame.equals(expected)
    assert sum(downloads) == size
    frame.loc[0, "b"] = 7  # meanwhile
    assert [new.equals(expected) for _, new in read_changes(started, origin).conflicts] == [True]
    assert frame["b"][0] == 7


def test_a_leaf_with_parts_that_do_not_fit_is_not_read():
    for parts in ([[3, None]], [[-1, None], [5, None]], [["4", None]], [[4, "../x"]], [[4, 7]], 7):
        with pytest.raises((codec.CannotTravel, TypeError)):
            leaf_reader(None, "token")({"size": 4, "at": 0, "sha256": "", "parts": parts})


def test_a_leaf_is_cut_into_few_objects_that_join_to_its_bytes():
    frame = pd.DataFrame(np.zeros((140_000, 300)))
    array = np.arange(10_000_000.0)
    for value in (frame, array):
        payload = pack_state(["value"], {"value": value}, [], 10**9)
        assert 2 < len(payload.blobs) < 70
        assert all(blob.key == fingerprint(blob.write) for blob in payload.blobs)
        message = json.loads(payload.settings["message"])
        leaf = next(leaf for leaf in message["leaves"] if "count" in leaf)
        blobs = payload.blobs[leaf["blob"] : leaf["blob"] + leaf["count"]]
        content = b"".join(b"".join(map(bytes, iterate_pieces(blob.write))) for blob in blobs)
        assert sum(blob.size for blob in blobs) == len(content) == leaf["size"]
        assert hashlib.sha256(content).hexdigest() == leaf["sha256"]


def test_small_values_need_no_bucket(session, uploads):
    run(session, "print(x)", inputs={"x": {"lr": 0.1}})
    assert uploads == []


@pytest.mark.nightly
def test_a_value_that_has_gone_from_the_bucket_is_sent_again(session, uploads):
    array = np.random.default_rng().random(200_000)
    run(session, "pass", inputs={"array": array})
    session.storage.remove(uploads[0])
    run(session, "pass", inputs={"array": array})
    assert uploads[0] == uploads[1]


def test_old_leftovers_are_removed_and_others_not(session, monkeypatch):
    session.storage.put(b"x", ".lk/v/old")
    session.storage.put(b"x", "mine/old")
    monkeypatch.setitem(KEPT, VALUES, timedelta(0))
    clean_up(session.storage)
    assert not session.storage.exists(".lk/v/old")
    assert session.storage.exists("mine/old")


# Secrets and the journal


def test_links_are_in_what_is_sent_and_nowhere_else(session):
    package = bundle_of(session, {"big": MEGABYTES}, outputs=["big"])
    complete = upload.upload_inputs(session, package, lambda _: None)
    links = json.loads(json.loads(complete.import_files)[upload.LINKS])
    assert links["inputs"][0].startswith("http")
    started = Run.submit(session, package)
    kept = journal().get(started.execution_id)
    for text in (
        json.dumps(kept.request),
        repr(package),
        repr(started),
        repr(vars(started)),
        package.request.import_files,
    ):
        assert "X-Amz" not in text
    started.result()


def test_a_run_of_the_journal_finds_its_variables_again(session):
    first = run(session, "same = big", inputs={"big": MEGABYTES, "cfg": {"lr": 1}}, outputs=["same", "cfg"])
    package = rebuild_run(session, first.execution_id, journal().get(first.execution_id))
    second = Run.submit(session, package)
    second.result()
    assert np.array_equal(second.outputs()["same"], MEGABYTES)
    key = json.loads(json.loads(package.request.import_files)["_lk_settings.json"])["parts"]["script.variables"][
        "blobs"
    ][0]
    session.storage.remove(bucket.VALUES + key[0])
    third = rebuild_run(session, first.execution_id, journal().get(first.execution_id))
    with pytest.raises(
        UsageError,
        match=r"no longer has all variables of the run \(1 of 1 file\)\. Nothing was sent\. Rerun its cell",
    ):
        Run.submit(session, third)


def test_an_interrupt_while_the_variables_are_sent_leaves_nothing_there(session):
    package = bundle_of(session, {"a": np.random.default_rng().random(200_000)})

    def tell(_):
        raise UsageError("Interrupted before it was sent.")

    with pytest.raises(UsageError, match="Interrupted"):
        upload.upload_inputs(session, package, tell)
    assert not session.storage.exists(bucket.VALUES + package.payload.blobs[0].key)


def test_an_interrupt_ends_all_uploads_that_are_made_at_once(session):
    package = bundle_of(session, {name: np.arange(8_000_000.0) + number for number, name in enumerate("ab")})
    reports = []

    def interrupt_second_report(text):
        reports.append(text)
        if len(reports) == 2:
            raise UsageError("Interrupted before it was sent.")

    with pytest.raises(UsageError, match="Interrupted"):
        upload.upload_inputs(session, package, interrupt_second_report)
    stored = {info.key for info in session.storage.ls(bucket.VALUES)}
    keys = {bucket.VALUES + blob.key for blob in package.payload.blobs}
    assert len(keys - stored) > len(keys) / 2
    assert not any(thread.name == "lk-storage" for thread in threading.enumerate())
    assert {info.key for info in session.storage.ls(bucket.VALUES)} == stored


def test_what_came_back_is_found_from_another_session(session, cloud):
    started = run(session, "x = 42", outputs=["x"])
    with lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key) as other:
        assert other.get(started.execution_id).outputs() == {"x": 42}


def test_links_that_would_end_before_the_run_are_refused(make_cloud):
    cloud = make_cloud("--s3-credential-seconds", "20")
    with (
        lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key) as session,
        pytest.raises(UsageError, match=r"Nothing was sent\. Lower the limit: --timeout 1\d"),
    ):
        session.run("pass", outputs=["x"], timeout=60, gpu="L40S")


def test_the_progress_of_an_upload_is_reported_in_percent_bytes_and_time_and_its_speed_is_kept(session):
    values = {name: np.random.default_rng().random(2_000_000) for name in "ab"}
    package, reports = bundle_of(session, values), []
    started = time.monotonic()
    upload.upload_inputs(session, package, reports.append)
    seconds = time.monotonic() - started
    assert reports[0] == "uploading 0% · 0 B of 32.0 MB"
    states = [
        re.fullmatch(r"uploading (\d+)% · [\d.]+ .?B of 32\.0 MB( · [\d.]+ .?B/s( · .+ left)?)?", text)
        for text in reports
    ]
    shares = [int(state[1]) for state in states]
    assert shares == sorted(shares)
    assert reports[-1].startswith("uploading 100% · 32.0 MB of 32.0 MB")
    assert consents.upload_speed(session.base_url, session.target.org or "") >= 32_000_000 / seconds
    again = []
    upload.upload_inputs(session, package, again.append)
    assert again == []


def test_attach_auto_takes_only_a_run_with_the_same_variables(session):
    options = {"attach": "auto", "gpu": "L40S"}
    code = "import time; time.sleep(60)  # with variables"
    first = session.run(code, inputs={"big": MEGABYTES}, **options)
    assert session.run(code, inputs={"big": MEGABYTES.copy()}, **options).execution_id == first.execution_id
    other = session.run(code, inputs={"big": MEGABYTES + 1}, **options)
    assert other.execution_id != first.execution_id
    for going_on in (first, other):
        going_on.abort()


def test_a_secret_in_a_variable_is_asked_about(session):
    with pytest.raises(UsageError, match="variable cfg"):
        session.run("pass", inputs={"cfg": {"key": "lk_" + "a1B2" * 10}}, gpu="L40S")


# What the cell reads


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("total = total + 1", ["total"]),
        ("total += 1", ["total"]),
        ("x = 1\nprint(x, df)", ["df"]),
        ("def f(a):\n    return a + b + later\nlater = 1", ["b"]),
        ("if c:\n    x = 1\nprint(x)", ["c", "x"]),
        ("if c:\n    x = 1\nelse:\n    x = 2\nprint(x)", ["c"]),
        ("for i in a:\n    b = i\nprint(i, b)", ["a"]),
        ("[i for i in a if i]", ["a"]),
        ("[i for i in i]", []),
        ("import np\nnp.x", []),
        ("from a import b as x\nx", []),
        ("def f():\n    global k\n    k += 1", ["k"]),
        ("class C(a):\n    y = df\n    def f(self):\n        return lr", ["a", "df", "lr"]),
        ("with c as x:\n    print(x)", ["c"]),
        ("try:\n    import x\nexcept E:\n    x = None\nx", []),
        ("try:\n    pass\nexcept E as lr:\n    pass", ["lr"]),  # the end of a handler deletes the name
        ("lr = 1\ntry:\n    pass\nexcept E as lr:\n    pass", []),
        ("x = 1\ndel x\nx", ["x"]),
        ("match a:\n    case [x, *y] if x > b:\n        print(x, y, c)", ["a", "b", "c"]),
        ("a[0] = b", ["a", "b"]),
        ("print(x := c)\nx", ["c"]),
        ("f'{größe:.{b}}'", ["b", "größe"]),
        ("lambda q=a: q + lr", ["a", "lr"]),
        ("print(len)", ["len"]),
        ("print(max)", []),
        ("get_ipython().run_line_magic('time', 'y = a + b')\ny", ["a", "b"]),
        ("get_ipython().run_line_magic('timeit', '-n 3 -r1 f(a)')", ["a", "f"]),
        ("get_ipython().run_cell_magic('time', '', 'x = a\\nx + y\\n')\nx", ["a", "y"]),
        ("get_ipython().run_cell_magic('capture', 'x', 'print(a)')\nx", ["a"]),
        ("get_ipython().system('echo {a} $b $$c {f(i)}')", ["a", "b", "f", "i"]),
        ("x = get_ipython().getoutput('ls {lr}')", ["lr"]),
        ("df.query('k > @lr and y < @x')", ["df", "lr", "x"]),
        ("duckdb.sql('SELECT * FROM df, other JOIN x USING (k)')", ["df", "x"]),
        ("import cProfile; cProfile.run('df + lr')", ["df", "lr"]),
        ("eval('a + b')", ["a", "b"]),
        ("f('y ~ np.log(x)', df)", ["df", "f", "np", "x", "y"]),
    ],
)
def test_a_cell_reads_what_it_does_not_set_before(code, names):
    known = dict.fromkeys(["a", "b", "c", "df", "f", "i", "k", "later", "lr", "np", "total", "x", "y", "größe", "len"])
    known["max"] = max
    assert read_by(code, known) == names


def test_all_that_the_cell_reads_is_sent_modules_by_their_names(session):
    namespace = {"df": pd.DataFrame({"a": [1, 2]}), "np": np, "unused": threading.Lock(), "lr": 0.5}
    source = Source("total = np.sum(df.a) * lr * factor", namespace=namespace, values={"factor": 2})
    package = prepare(session, source, RunOptions(in_all=True, outputs=["total"], machine="cpu"))
    assert [sent.name for sent in package.payload.inputs] == ["df", "lr", "np"]
    started = Run.submit(session, package)
    started.result()
    assert started.outputs()["total"] == 3


def test_in_all_takes_from_a_namespace_what_the_code_reads(session):
    started = session.run("y = x + 1", inputs={"x": 1, "lock": threading.Lock()}, in_all=True, outputs="y", gpu="L40S")
    assert started.outputs() == {"y": 2}


def test_each_of_several_runs_brings_and_returns_its_own(session):
    fan = session.fan_out("y = x * k", sweep=["k=1,2"], inputs={"x": MEGABYTES[:3]}, outputs=["y"], machine="cpu")
    fan.wait()
    assert [lane.run.outputs()["y"].tolist() for lane in fan.members] == [[0, 1, 2], [0, 2, 4]]


@pytest.mark.nightly
def test_auto_requirements_name_what_the_variables_need(session):
    package = bundle_of(session, {"df": pd.DataFrame({"a": [1]})}, requirements=["auto"])
    assert {"pandas", "pyarrow"} <= {line.partition("==")[0] for line in package.request.requirements_content.split()}


@pytest.mark.nightly
def test_auto_requirements_name_what_a_pickled_value_needs(session):
    import sklearn.linear_model  # noqa: PLC0415

    package = bundle_of(session, {"m": [sklearn.linear_model.Ridge()]}, pickle=True, requirements=["auto"])
    assert "scikit-learn" in {line.partition("==")[0] for line in package.request.requirements_content.split()}


def test_what_belongs_to_the_run_is_named_and_no_package_is_asked_for(session):
    code = "import ipywidgets\nx = [lambda: show]\nfrom _lk.display import show\ny = ipywidgets.IntSlider()"
    out = run(session, code, outputs=["x", "y"], pickle=True, rich=True).outputs()
    assert out.missing["x"].startswith("x[0] contains an output of the run, which can't be returned")
    assert out.missing["y"].startswith("y is a widget, which belongs to its kernel")


# Pieces


def test_a_fingerprint_is_of_the_bytes_alone():
    def by_one(sink):
        for byte in b"abc":
            sink(bytes([byte]))

    assert fingerprint(by_one) == fingerprint(lambda sink: sink(b"abc"))
    assert fingerprint(by_one) != fingerprint(lambda sink: sink(b"abd"))


def test_pieces_join_what_is_small_and_cut_what_is_large():
    large = bytes(PIECE * 2 + 5)

    def write(sink):
        sink(b"a")
        sink(memoryview(large))
        sink(b"b" * 3)

    pieces = list(iterate_pieces(write))
    assert b"".join(pieces) == b"a" + large + b"bbb"
    assert [len(piece) for piece in pieces] == [1, PIECE, PIECE, 5 + 3] or max(map(len, pieces)) <= PIECE


def test_an_error_while_writing_is_raised_where_the_pieces_are_taken():
    def write(sink):
        sink(b"x" * PIECE)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(iterate_pieces(write))


def test_whoever_stops_taking_pieces_stops_their_making():
    def write(sink):
        while True:
            sink(b"x" * PIECE)

    pieces = iterate_pieces(write)
    next(pieces)
    pieces.close()
    maker = next((thread for thread in threading.enumerate() if thread.name == "lk-pieces"), None)
    if maker:
        maker.join(PATIENCE)
        assert not maker.is_alive()


def test_too_little_memory_is_said_before_anything_is_fetched(session, monkeypatch):
    started = run(session, "big = bytes(3_000_000)", outputs=["big"])
    monkeypatch.setattr(transfer, "free_memory", lambda: 1000)
    out = started.outputs()
    assert out.missing == {"big": "big does not fit into memory: 3,000,000 bytes are needed and 1,000 are free"}


def test_a_bucket_that_fails_is_said_and_the_run_was_not_started(session, monkeypatch):
    def fail(*_, **_options):
        raise StorageError("The bucket failed.")

    monkeypatch.setattr(session.storage, "put", fail)
    with pytest.raises(StorageError):
        session.run("pass", inputs={"a": np.random.default_rng().random(200_000)}, gpu="L40S")
    assert journal().entries()[0].state == "refused"


def test_the_same_value_makes_the_same_parcel():
    value = {"a": {"x", "y", "z"}, "f": pd.DataFrame({"n": MEGABYTES})}
    assert pack_values({"v": value}, []).settings == pack_values({"v": value}, []).settings


def test_files_that_a_run_wrote_replace_nothing_of_ones_own_and_stay_in_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "x.txt").write_text("mine")
    (folder / "x_from_run.txt").write_text("mine too")
    monkeypatch.chdir(folder)
    outside = [".hidden", "sub/.git/hooks", "_lk_run.py", "_lk/x.py", "../out", "link/out", str(tmp_path / "abs")]
    names = ["x.txt", "new/y.txt", *outside]
    state = ChangedState(unnamed={FILES: dict.fromkeys(names, b"of the run")})
    state.put({})
    assert state.written == {"x.txt": "x_from_run_from_run.txt", "new/y.txt": "new/y.txt"}
    there = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {
        "book/x.txt": "mine",
        "book/x_from_run.txt": "mine too",
        "book/x_from_run_from_run.txt": "of the run",
        "book/new/y.txt": "of the run",
    }


def test_a_file_of_a_run_that_would_be_executed_here_unasked_is_reported_and_gets_another_name(
    session, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code = "for name in ('sitecustomize', 'json', 'model'): open(name + '.py', 'w').write('raise SystemExit')"
    started = run(session, code, inputs={"x": 1}, carry=True)
    words = [notice.text for notice in Returned({}).ended(started, started.record)]
    assert "Written here: model.py" in words[0]
    assert [text.partition(" ")[0] for text in words[1:]] == ["json.py", "sitecustomize.py"]
    assert "in place of the module json, so the file was renamed to json_from_run.py. Check it" in words[1]
    names = ["json_from_run.py", "model.py", "sitecustomize_from_run.py"]
    assert sorted(path.name for path in tmp_path.glob("*.py")) == names


def test_a_request_without_variables_is_not_copied_to_find_that_out():
    request = json.dumps({"_lk_run.py": "x" * 1_000_000, "notes.txt": '"_lk_variables.py"'})
    tracemalloc.start()
    try:
        assert settings_in(request) is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
