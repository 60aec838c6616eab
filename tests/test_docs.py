import inspect
import re
from importlib import import_module

import pytest

import lk_jupyter
from lk_jupyter import _docs, _types, errors


@pytest.mark.parametrize("page", _docs.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_current(page):
    written = page.read_text(encoding="utf-8")
    assert written == _docs.render(written), "run: make docs"


def test_the_types_of_the_pages_are_current():
    assert _types.TYPES.read_text(encoding="utf-8") == _types.render(), "run: make docs"


@pytest.mark.parametrize("name", _docs.TABLES)
def test_every_table_stands_on_a_page(name):
    pages = "".join(page.read_text(encoding="utf-8") for page in _docs.PAGES)
    assert f"<!-- table: {name} -->\n|" in pages


def test_all_lists_what_the_package_serves_on_demand():
    assert sorted(lk_jupyter.__all__) == sorted(lk_jupyter._HOMES)
    assert set(lk_jupyter.__all__) <= set(dir(lk_jupyter))
    for name in lk_jupyter.__all__:
        assert getattr(lk_jupyter, name).__name__ == name


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lk_jupyter.no_such_name


@pytest.mark.parametrize("name", lk_jupyter.__all__)
def test_a_public_name_and_all_of_its_public_parts_say_what_they_do(name):
    thing = getattr(lk_jupyter, name)
    undocumented = [part for part, value in _public_parts(thing) if not inspect.getdoc(value)]
    assert inspect.getdoc(thing)
    assert not undocumented


def _public_parts(thing):
    own = vars(thing) if inspect.isclass(thing) else {}
    return [(name, value) for name, value in own.items() if not name.startswith("_")]


def test_every_magic_can_be_asked_for_help():
    for row in import_module("lk_jupyter.magics").MAGICS:
        shown = import_module("lk_jupyter.magics").magic_named(row.name).help()
        assert "usage" in shown.lower()
        assert "Undefined" not in shown


def test_the_error_tree_is_drawn_whole():
    drawn = re.findall(r"[├└]── (\w+)|^ {4}(\w+)", errors.__doc__, re.MULTILINE)
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]
    assert sorted(filter(None, (a or b for a, b in drawn))) == sorted(defined)
