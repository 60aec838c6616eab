"""What travels with a run must work wherever it arrives."""

import ast
import sys

import pytest
from conftest import for_each

from lk_jupyter.protocol import parts
from lk_jupyter.protocol.parts import SHIPPED

MODULES = sorted(SHIPPED.rglob("*.py"))
LIGHT = [
    "script/run", "script/traceback", "script/offload", "display/rich", "display/fit", "display/show", "display/bars",
    "display/magics",
]  # fmt: skip


@for_each(MODULES, lambda path: path.stem)
def test_it_is_python_that_older_interpreters_read(module):
    ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))


@for_each(MODULES, lambda path: path.stem)
def test_it_is_uploaded_without_comments_and_with_the_same_code(module):
    text = module.read_text(encoding="utf-8")
    uploaded = parts.module_files([".".join(module.relative_to(SHIPPED).with_suffix("").parts)])
    (sent,) = [sent for path, sent in uploaded.items() if path == f"_lk/{module.relative_to(SHIPPED).as_posix()}"]
    assert ast.dump(ast.parse(sent)) == ast.dump(ast.parse(text))
    assert len(sent.splitlines()) == len(text.splitlines())


@pytest.mark.parametrize("name", LIGHT)
def test_at_its_start_it_needs_the_standard_library_only(name):
    tree = ast.parse((SHIPPED / f"{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
