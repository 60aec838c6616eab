"""What travels with a run must work wherever it arrives."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
from conftest import for_each

from lk_jupyter.protocol import parts
from lk_jupyter.protocol.parts import SHIPPED
from lk_jupyter.remote import archive, sign
from lk_jupyter.runs.variables.payload import CARRY_NEEDS, NEEDS

MODULES = sorted(SHIPPED.rglob("*.py"))
LIGHT = [
    "script/run", "script/traceback", "script/offload", "display/rich", "display/fit", "display/show", "display/bars",
    "display/magics",
]  # fmt: skip


@for_each(MODULES, lambda path: path.stem)
def test_it_is_python_that_older_interpreters_read(module):
    ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))


class Stripped(ast.NodeTransformer):
    """Code without docstrings, annotations and imports for type checkers."""

    def generic_visit(self, node):
        super().generic_visit(node)
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
            is_documented = ast.get_docstring(node, clean=False) is not None
            rest = node.body[is_documented:]
            node.body = rest or ([] if isinstance(node, ast.Module) else [ast.copy_location(ast.Pass(), node.body[0])])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        return ast.copy_location(ast.Assign([node.target], node.value) if node.value else ast.Pass(), node)

    def visit_Assign(self, node):
        return None if ast.unparse(node.targets[0]) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_ImportFrom(self, node):
        return None if node.module == "__future__" else node


@for_each([*MODULES, *Path(cloudpickle.__file__).parent.glob("*.py")], lambda path: path.stem)
def test_it_is_uploaded_with_only_the_code_that_is_executed(module):
    text = module.read_text(encoding="utf-8")
    code = parts.read_stripped_code(module)
    stripped = Stripped().visit(ast.parse(text))
    assert ast.dump(ast.parse(code)) == ast.dump(stripped)
    assert len(code.splitlines()) == len(text.splitlines())
    places = [(type(node), node.lineno) for node in ast.walk(stripped) if hasattr(node, "lineno")]
    assert places == [(type(node), node.lineno) for node in ast.walk(ast.parse(code)) if hasattr(node, "lineno")]


#: Imports modules of an archive, an imported library also in a child, and shows the source in a traceback.
USE = """
import sys, json, subprocess, traceback, _lk.carry.reader, _lk.sign, cloudpickle
try:
    _lk.carry.reader.Reader(b"", {}, None).chunk(0)
except EOFError:
    lines = traceback.format_exc()
child = subprocess.run([sys.executable, "-c", "import cloudpickle; print(cloudpickle.loads.__module__)"], stdout=-1)
print(json.dumps([cloudpickle.__file__, lines, child.stdout.decode(), _lk.sign.signature(b"k", b"part").hex()]))
"""


def test_a_run_imports_the_modules_from_one_file(tmp_path):
    files = parts.module_files([parts.DRIVER, *NEEDS, *CARRY_NEEDS, parts.SIGN])
    for name, text in {**files, "use.py": USE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run([sys.executable, "-S", "use.py"], cwd=tmp_path, stdout=-1, check=True)
    library, lines, child, signature = json.loads(done.stdout)
    assert library == str(tmp_path / "cloudpickle" / "__init__.py")
    assert "_lk/carry/reader.py" in lines
    assert "self.load()" in lines
    assert child == "_pickle\n"
    assert signature == sign.signature(b"k", b"part").hex()
    assert len(json.dumps(files)) < 130_000


def test_the_archive_is_stored_next_to_the_compiled_files_and_made_again_after_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    module = tmp_path / "module.py"
    module.write_text("value = 1")
    first = parts._load_archive({"module.py": module})
    stored = next((tmp_path / "cache").rglob("archive-*.txt"))
    assert parts._load_archive({"module.py": module}) == first
    module.write_text("value = 10")
    second = parts._load_archive({"module.py": module})
    assert archive.unpack(second) == {"module.py": "value = 10"}
    stored.write_text("damaged")
    assert parts._load_archive({"module.py": module}) == second


@pytest.mark.parametrize("name", LIGHT)
def test_at_its_start_it_needs_the_standard_library_only(name):
    tree = ast.parse((SHIPPED / f"{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
