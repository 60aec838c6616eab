"""What travels with a run must work wherever it arrives."""

import ast
import sys

import pytest
from conftest import for_each

from lk_jupyter.protocol.parts import SHIPPED

MODULES = sorted(SHIPPED.glob("*.py"))
LIGHT = ["_lk_run", "_lk_rich", "_lk_fit", "_lk_show", "_lk_traceback", "_lk_bars", "_lk_magics", "_lk_offload"]


@for_each(MODULES, lambda path: path.stem)
def test_it_is_python_that_older_interpreters_read(module):
    ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("name", LIGHT)
def test_at_its_start_it_needs_the_standard_library_only(name):
    tree = ast.parse((SHIPPED / f"{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {path.stem for path in MODULES}
