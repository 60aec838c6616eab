import json
import linecache
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol import parts
from lk_jupyter.protocol.frames import split
from lk_jupyter.protocol.parts import RemoteModule
from lk_jupyter.remote import archive
from lk_jupyter.remote.carry.digests import digest_value
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits
from lk_jupyter.runs.package.prepare import _list_picklable_names
from lk_jupyter.runs.variables.payload import Origin, VariablePayload, pack_state
from lk_jupyter.views.plan import plan_view

A100 = MachineType(hardware_profile="gpu.a100", price_per_hour=1.8)


@pytest.fixture
def pack(tmp_path):
    def pack(code="print(1)", *, first_line=1, **options):
        source = Source(code, "cell.py", first_line, tmp_path)
        return BundleBuilder(source, RunOptions(**options), A100, Limits(60, 600)).build()

    return pack


def test_the_request_holds_what_was_asked_for(pack):
    request = pack(timeout=300, name="try 1", label=["a", "b"], metadata={"team": "vision"}).request
    assert request.execution_type == "gpu.a100"
    assert (request.timeout, request.run_name, request.labels) == (300, "try 1", ["a", "b"])
    assert request.metadata["team"] == "vision"


def test_every_request_can_be_told_from_every_other(pack):
    assert pack().token != pack().token


def test_the_highest_cost_includes_the_second_in_which_the_process_ends(pack):
    assert pack(timeout=599).worst_case == Decimal("0.3")


@pytest.mark.parametrize(("timeout", "seconds"), [(601, 601), (10_000, 10_000), ("2h", 7200), ("10m1s", 601)])
def test_a_timeout_above_the_accounts_limit_is_refused_with_the_limit_and_nothing_is_sent(pack, timeout, seconds):
    with pytest.raises(UsageError, match=rf"1 to 600 s here, got {seconds} s. Nothing was sent.*max_timeout"):
        pack(timeout=timeout)


@pytest.mark.parametrize(("timeout", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400)])
def test_a_timeout_is_a_duration_or_seconds(tmp_path, timeout, seconds):
    package = BundleBuilder(Source("1", folder=tmp_path), RunOptions(timeout=timeout), A100, Limits(60, 86_400)).build()
    assert package.request.timeout == seconds


def test_a_longer_timeout_goes_when_the_account_allows_it(tmp_path):
    package = BundleBuilder(Source("1", folder=tmp_path), RunOptions(timeout=7200), A100, Limits(60, 86_400)).build()
    assert json.loads(package.request.model_dump_json())["timeout"] == 7200


@pytest.mark.parametrize("first_line", [1, 2, 5])
@pytest.mark.parametrize("arguments", [[], ["--lr", "0.1"]])
@pytest.mark.parametrize("code", ["x = 1\n1/0", "from __future__ import annotations  # first\n1/0", '"""Doc."""\n1/0'])
def test_line_numbers_are_those_of_the_author(pack, tmp_path, first_line, arguments, code):
    package = pack(code, first_line=first_line, arg=arguments)
    script = tmp_path / "cell.py"
    script.write_text(package.request.code)
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    line = int(run.stderr.split("line ")[1].split(",")[0])
    assert line + package.line_shift == first_line + 1


def test_arguments_are_in_sys_argv(pack, tmp_path):
    script = tmp_path / "cell.py"
    script.write_text(pack("import sys; print(sys.argv[1:])", arg=["a b", "'"]).request.code)
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert run.stdout == "['a b', \"'\"]\n"


def test_local_modules_go_with_the_code_and_so_do_theirs(pack, tmp_path):
    (tmp_path / "model.py").write_text("import layers.conv\n")
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "__init__.py").write_text("")
    (tmp_path / "layers" / "conv.py").write_text("import os\nfrom units import M\n")
    (tmp_path / "units.py").write_text("M = 1\n")
    (tmp_path / "other.py").write_text("")
    files = json.loads(pack("def f():\n    import model").request.import_files)
    assert sorted(files) == ["layers/__init__.py", "layers/conv.py", "model.py", "units.py"]
    assert files["units.py"] == "M = 1\n"


def test_files_are_shipped_by_glob(pack, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").write_text("lr: 1")
    (tmp_path / "conf" / "b.yaml").write_text("lr: 2")
    assert sorted(pack(files=["conf/*.yaml"]).files) == ["conf/a.yaml", "conf/b.yaml"]


def test_the_plan_lists_a_binary_file_beside_our_modules_and_not_among_them(pack, tmp_path):
    sizes = []
    for content in (b"\xff", bytes(range(256)) * 400):
        (tmp_path / "data.bin").write_bytes(content)
        rows = dict(plan_view(pack("open('data.bin', 'rb')", files=["data.bin"])).rows)
        sizes.append(rows.get("Uploaded modules"))
    assert rows["Uploaded files"] == "data.bin (102 kB)"
    assert sizes[0] == sizes[1]


def test_a_missing_file_is_named(pack):
    with pytest.raises(UsageError, match=r"no file matches 'missing\.csv'"):
        pack(files=["missing.csv"])


def test_a_large_binary_file_is_refused_with_the_way_that_works(pack, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\xff\xfe\x00" * 3_000_000)
    with pytest.raises(UsageError, match=r"weights\.bin' isn't UTF-8 text.*%lk_put"):
        pack(files=["weights.bin"])


def test_a_file_with_the_name_of_one_of_ours_is_refused(pack, tmp_path):
    (tmp_path / "_lk_run.py").write_text("x = 1")
    with pytest.raises(UsageError, match=r"_lk_run\.py': _lk and names starting with _lk_ .* Rename the file"):
        pack("import _lk_run")


def test_a_file_with_the_name_of_the_code_is_refused_unless_it_is_the_code(pack, tmp_path):
    (tmp_path / "cell.py").write_text("print(1)\n")
    assert list(pack("print(1)", files=["*.py"]).files) == ["cell.py"]
    with pytest.raises(UsageError, match=r"cell\.py' is reserved for the code of the run"):
        pack("import cell")


@pytest.mark.parametrize("name", ["run.py", "call.py", "settings.json"])
def test_code_of_any_name_leaves_our_files_as_they_are(name):
    files = parts.build_run_files(parts.Cell(name, "print(1)"), [RemoteModule("script.call")], "nonce")
    modules = archive.unpack(files["_lk/source.txt"])
    assert "def main" in modules["_lk/script/run.py"]
    assert "def run" in modules["_lk/script/call.py"]
    assert json.loads(files["_lk_settings.json"])["cell"] == name


def test_a_file_outside_the_folder_is_refused(pack, tmp_path):
    (tmp_path.parent / "secret.txt").write_text("x")
    with pytest.raises(UsageError, match="is outside"):
        pack(files=["../secret.txt"])


def test_a_broken_local_module_is_named_before_anything_is_sent(pack, tmp_path):
    (tmp_path / "broken.py").write_text("x = (")
    with pytest.raises(UsageError, match=r"broken\.py', which the code imports, isn't valid Python"):
        pack("import broken")


def test_requirements_come_from_names_and_files(pack, tmp_path):
    (tmp_path / "req.txt").write_text("numpy>=1.26\n# a remark\n")
    text = pack(requirements=["req.txt", "torch >= 2.4"]).request.requirements_content
    assert text == "numpy>=1.26\n# a remark\ntorch>=2.4\n"


def test_auto_requires_what_the_code_and_its_modules_import(pack, tmp_path):
    (tmp_path / "mine.py").write_text("import httpx\n")
    text = pack("import os, pydantic\nimport mine", requirements=["auto"]).request.requirements_content
    assert [line.split("==")[0] for line in text.split()] == ["httpx", "pydantic"]


def test_auto_takes_the_known_package_of_an_import_that_is_not_installed_here(pack):
    text = pack("import cv2, pydantic", requirements=["auto"]).request.requirements_content
    assert [line.partition("==")[0] for line in text.split()] == ["opencv-python-headless", "pydantic"]


def test_auto_names_all_imports_whose_package_nobody_knows(pack):
    with pytest.raises(UsageError) as refused:
        pack("import nowhere, cv2, pydantic\nimport not_here", requirements=["auto"])
    assert str(refused.value) == (
        "-r auto: 'not_here', 'nowhere' aren't installed here, so their packages can't be looked up. "
        "Nothing was sent. Name the packages: -r not_here -r nowhere"
    )


def test_auto_adds_frequent_packages_that_this_laptop_lacks(pack):
    code = "import torch, cupy, tensorflow_hub\nfrom sentence_transformers import util"
    lines = pack(code, requirements=["auto"]).request.requirements_content.split()
    assert {line.partition("==")[0] for line in lines} >= {"tensorflow-hub", "sentence-transformers"}
    assert {"torch"} <= {line.partition("==")[0] for line in lines}


def test_a_line_that_lists_packages_provides_unknown_imports(pack):
    text = pack("import nowhere, pydantic", requirements=["auto", "some-package"]).request.requirements_content
    assert [line.partition("==")[0] for line in text.split()] == ["pydantic", "some-package"]


@pytest.mark.parametrize(
    ("code", "requirements", "similar"),
    [
        ("import numpyy", ["auto"], "numpy"),
        ("import reqeusts", ["auto", "numpy"], "requests"),
        ("pass", ["reqeusts"], "requests"),
        ("pass", ["sklaern[all]"], "scikit-learn"),
        ("pass", ["beatifulsoup4"], "beautifulsoup4"),
    ],
)
def test_a_name_one_letter_from_a_frequent_package_is_refused(pack, code, requirements, similar):
    with pytest.raises(UsageError, match=f"its name is similar to '{similar}'. Nothing was sent"):
        pack(code, requirements=requirements)


@pytest.mark.nightly
def test_a_similar_name_with_a_version_is_a_decision_of_the_user(pack):
    text = pack("import numpyy", requirements=["auto", "numpyy==1.0"]).request.requirements_content
    assert text == "numpyy==1.0\n"
    assert pack("import utils", requirements=["auto", "utils"]).request.requirements_content == "utils\n"


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ([], ""),
        (["pandas>=2"], "installing pandas"),
        (["torch", "numpy==2.0", "pandas", "scikit-learn[x]>=1"], "installing torch, numpy +2"),
    ],
)
def test_what_is_installed_before_a_run_is_named(pack, requirements, words):
    assert pack(requirements=requirements).installs == words


@pytest.mark.parametrize("what", ["missing-file.txt/", "a b c", "torch=>2"])
def test_what_is_no_requirement_is_refused(pack, what):
    with pytest.raises(UsageError, match="-r: "):
        pack(requirements=[what])


def test_nothing_extra_is_sent_for_plain_code(pack):
    sent = json.loads(pack().request.model_dump_json(exclude_none=True))
    assert set(sent) == {"code", "nbcode", "timeout", "file_name", "execution_type", "metadata"}


def parts_of(package, folder):
    """Put what is sent where a run finds it, and run it."""
    for name, text in json.loads(package.request.import_files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "cell.py").write_text(package.request.code)
    return subprocess.run([sys.executable, "cell.py"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def with_part(tmp_path, monkeypatch):
    """Pack code with a part that says when it is called."""
    monkeypatch.setattr(parts, "SHIPPED", tmp_path / "remote")
    shutil.copytree(Path(parts.__file__).parent.parent / "remote", tmp_path / "remote")
    (tmp_path / "remote" / "script" / "example.py").write_text(
        "from . import run as driver\n"
        "def before(settings, namespace):\n    namespace['x'] = settings['x']\n"
        "def after(settings, namespace, error):\n    driver.frame('example', dict(x=namespace['x'], e=repr(error)))\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()

    def pack(code, **options):
        source = Source(code, "cell.py", 2, tmp_path)
        part = RemoteModule("script.example", {"x": 1})
        package = BundleBuilder(source, RunOptions(**options), A100, Limits(60, 600), [part]).build()
        done = parts_of(package, folder)
        text, frames = split(done.stdout, package.nonce)
        return done, text, frames

    return pack


def test_a_part_is_called_before_the_code_and_after_it(with_part):
    done, text, frames = with_part("print(x)\nx += 1")
    assert (text, done.stderr, done.returncode) == ("1\n", "", 0)
    assert [(frame.kind, frame.payload) for frame in frames] == [("example", {"x": 2, "e": "None"})]


def test_a_part_learns_of_the_error_that_ended_the_code(with_part):
    done, _, frames = with_part("def f():\n    1/0\nf()")
    assert frames[0].payload["e"].startswith("ZeroDivisionError")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert 'cell.py", line 4, in <module>\n    f()' in done.stderr
    assert "_lk" not in done.stderr


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(3)", 3), ("import sys; sys.exit('no')", 1), ("", 0)])
def test_the_exit_code_is_that_of_a_plain_script(with_part, code, status):
    assert with_part(f"pass\n{code}")[0].returncode == status


def test_arguments_and_the_name_of_the_file_are_as_without_parts(with_part):
    _, text, _ = with_part("import sys, pathlib\nprint(sys.argv[1:], pathlib.Path(__file__).name, __name__)", arg=["a"])
    assert text == "['a'] cell.py __main__\n"


def test_classes_of_the_code_can_be_pickled_and_its_source_be_read(with_part):
    code = (
        "import inspect, pickle\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "print(pickle.loads(pickle.dumps(P(2))), inspect.getsource(P).splitlines()[1])"
    )
    assert with_part(code)[1] == "P(x=2) class P:\n"


def test_a_cell_may_import_from_the_future_anywhere_as_in_a_notebook(with_part):
    code = "x = 1\nfrom __future__ import annotations\ndef f(y: none): pass\nprint(f.__annotations__)"
    assert with_part(code, rich=True)[1] == "{'y': 'none'}\n"


def test_processes_that_the_code_spawns_find_it(with_part):
    code = (
        "import multiprocessing as mp\ndef double(x):\n    return 2 * x\nif __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(1) as pool:\n        print(pool.map(double, [1, 2]))"
    )
    assert with_part(code)[1] == "[2, 4]\n"


def test_the_code_cannot_find_the_nonce(with_part):
    code = "import os\nprint(sorted(name for name in os.listdir() if 'settings' in name), 'NONCE' in str(os.environ))"
    assert with_part(code)[1] == "[] False\n"


# Files that a cell names


@pytest.fixture
def carried(tmp_path):
    """A function that gives the names of the files that go along with a cell that carries its state."""
    folder = tmp_path / "work"
    for name in ("part1.txt", "a_b", "train.py", "notes.md", "data/x.csv", "../beside.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")

    def carried(code, values=None, kept=None):
        payload = pack_state(list(values or {}), values or {}, [], 1, warm_digests=kept)
        options = RunOptions(rich=True)
        return set(
            BundleBuilder(Source(code, "cell.py", 1, folder), options, A100, Limits(60, 600), payload=payload)
            .build()
            .uploads
        )

    return carried


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("open('part1.txt')", {"part1.txt"}),
        ("open(f'part{i}.txt')", {"part1.txt"}),
        ("import glob; glob.glob('data/*.csv')", {"data/x.csv"}),
        ("!head -1 part1.txt", {"part1.txt"}),
        ("%run train", {"train.py"}),
        ("open('../beside.csv')", {"../beside.csv"}),
        ("!cat *.txt | head", {"part1.txt"}),
        ("!ls -l", {"part1.txt", "a_b", "train.py", "notes.md"}),
        ("names = !ls data | sort", {"data/x.csv"}),
        ("import os\nfor name in os.listdir('data'): open(name)", {"data/x.csv"}),
        ("from pathlib import Path\nlist(Path().iterdir())", {"part1.txt", "a_b", "train.py", "notes.md"}),
        ("!lsblk", set()),
        ("print('train', 'see notes.md')", set()),
        ("label = f'{a}_{b}'", set()),
    ],
)
def test_a_cell_takes_the_files_along_that_it_names_and_no_others(carried, code, names):
    assert carried(code) == names


def test_of_a_list_of_many_files_a_thousand_go_along_and_the_disk_is_asked_little(carried, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "work")
    names = [f"data/{number:04}.txt" for number in range(1100)]
    for name in names:
        Path(name).write_text("1")
    asked = []

    def counted(ask, *values, **more):
        asked.append(values)
        return ask(*values, **more)

    for kind in ("stat", "lstat"):
        monkeypatch.setattr(os, kind, partial(counted, getattr(os, kind)))
    went = carried("print(names)", {"names": names + [f"data/absent{number}" for number in range(3000)]})
    assert went == set(names[:1000])
    assert len(asked) < 25 * 1000, len(asked)


def test_files_of_a_listed_folder_that_are_too_large_or_hold_a_secret_are_named(carried, tmp_path):
    (tmp_path / "work" / "large.csv").write_bytes(b"1" * 5_000_001)
    (tmp_path / "work" / "login.txt").write_text("ghp_" + "a1B2c3D4e5F6" * 3)
    payload = VariablePayload(settings={"carry": 1}, origin=Origin({}, {}, {}))
    source = Source("!ls", "cell.py", 1, tmp_path / "work")
    made = BundleBuilder(source, RunOptions(rich=True), A100, Limits(60, 600), payload=payload).build()
    assert (made.skipped_files, made.rest["folders"], "a_b" in made.uploads) == (
        ("large.csv", "login.txt"),
        ["data"],
        True,
    )


def test_a_function_or_class_takes_the_files_along_that_it_opens(carried):
    text = (
        "import functools\ndef load(name='part1.txt'):\n    return open(name)\n"
        "class Book:\n    @property\n    def notes(self):\n        return open('notes.md')\n"
        "    @staticmethod\n    def rows(i):\n        return open(f'data/{i}.csv')\n"
        "@functools.cache\ndef cached():\n    return open('../beside.csv')\nfrom json import load as other"
    )
    linecache.cache["<files>"] = len(text), None, text.splitlines(keepends=True), "<files>"
    space = {"__name__": "__main__"}
    exec(compile(text, "<files>", "exec"), space)
    assert carried("pass", {"load": space["load"], "other": space["other"]}) == {"part1.txt"}
    assert (
        carried("pass", {"Book": space["Book"]})
        == carried("pass", {"b": space["Book"]()})
        == {"notes.md", "data/x.csv"}
    )
    assert carried("pass", {"cached": space["cached"], "n": 5}) == {"../beside.csv"}


def test_an_open_file_goes_along_wherever_it_is_held(carried, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "work")
    with Path("part1.txt").open(encoding="utf-8") as file:
        assert carried("pass", {"held": [{"deep": [file]}]}) == {"part1.txt"}
    with closing(sqlite3.connect("notes.db")) as base:
        base.execute("create table t (a)")
        assert carried("pass", {"held": [base]}) == {"notes.db"}
        assert carried("pass", {"base": base}, {"base": digest_value(base)}) == {"notes.db"}  # a session has the rest


def test_code_that_reads_pickles_gets_the_classes_and_functions_of_the_notebook():
    space = {"__name__": "__main__"}
    exec("class Point: pass\ndef area(): pass\nalias = Point\nfrom collections import Counter\nrate = 2", space)
    names = [_list_picklable_names(Source(code, namespace=space)) for code in ("pickle.loads(data)", "data")]
    assert names == [["Point", "area"], []]
