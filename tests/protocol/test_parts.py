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


@for_each(MODULES, lambda path: path.stem)
def test_it_is_uploaded_with_only_the_code_that_is_executed(module):
    text = module.read_text(encoding="utf-8")
    uploaded = parts.module_files([".".join(module.relative_to(SHIPPED).with_suffix("").parts)])
    code = uploaded[f"_lk/{module.relative_to(SHIPPED).as_posix()}"]
    stripped = Stripped().visit(ast.parse(text))
    assert ast.dump(ast.parse(code)) == ast.dump(stripped)
    assert len(code.splitlines()) == len(text.splitlines())
    places = [(type(node), node.lineno) for node in ast.walk(stripped) if hasattr(node, "lineno")]
    assert places == [(type(node), node.lineno) for node in ast.walk(ast.parse(code)) if hasattr(node, "lineno")]


@pytest.mark.parametrize("name", LIGHT)
def test_at_its_start_it_needs_the_standard_library_only(name):
    tree = ast.parse((SHIPPED / f"{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
