"""Private names of other libraries: one table, and each name exists in the installed version of its library.

``make matrix`` runs these tests with the oldest and the newest version of each dependency.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

#: Name → module, object in the module that has the name (empty for the module), and the use.
PRIVATE = {
    "_DYNAMIC_CLASS_TRACKER_BY_ID": ("cloudpickle.cloudpickle", "", "a class that is sent again stays the same class"),
    "_fill_value": ("numpy.ma", "array([1])", "the fill value that the code has set, or none"),
    "_forkserver_preload_set": ("distributed.utils", "", "a scheduler doesn't import pandas before its first worker"),
    "_global_settings": ("sympy.printing.printer", "Printer", "settings of init_printing"),
    "_intrans": ("fsspec", "AbstractFileSystem()", "writes in a transaction wait for its end"),
    "_json": ("bokeh.themes", "Theme(json={})", "the theme of figures"),
    "_msg_callbacks": ("ipywidgets", "Label()", "callbacks of a widget"),
    "_register_atexit": ("threading", "", "threads end before the interpreter does"),
    "_registered_options": ("pandas._config.config", "", "options that the code has set, with their defaults"),
    "_tensor_str": ("torch", "", "options of set_printoptions"),
    "_trait_notifiers": ("ipywidgets", "Label()", "observers of a widget"),
    "_trait_values": ("ipywidgets", "Label()", "the state of a widget without the defaults"),
    "_unpickle_block": ("pandas._libs.internals", "", "the memory layout of a frame"),
    "_update_inplace": ("pandas", "DataFrame()", "a frame that the run has changed in place"),
}
#: The same, for names that some versions lack.
OPTIONAL = {
    "_instances": ("ipywidgets.widgets.widget", "", "the widget of a model: ipywidgets 8"),
}


#: Names that are only assigned, as our own names are.
ASSIGNED = {"_forkserver_preload_set"}


@pytest.mark.nightly  # it parses all modules
def test_each_private_name_of_another_library_is_in_the_table(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = set().union(*import_module("house").foreign_names().values())
    assert names == (PRIVATE.keys() | OPTIONAL.keys()) - ASSIGNED


@pytest.mark.parametrize("name", PRIVATE)
def test_the_installed_version_of_the_library_has_the_private_name(name):
    module, owner, _use = PRIVATE[name]
    pytest.importorskip(module.partition(".")[0])
    library = import_module(module)
    assert hasattr(eval(f"library.{owner}") if owner else library, name)
