"""Objects of numpy, pandas, torch, patsy, bokeh and Pillow, and objects that a package has made for all."""

from __future__ import annotations

import functools
import sys
import types
from contextlib import suppress

from ...values import pickle as pickles
from .classes import NEW_OBJECT
from .memory import fill_elements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def change_leaf(value: Any, new: Any) -> None:
    """Do the same for arrays, frames and tensors. Raises TypeError where that cannot be."""
    kind = type(value).__name__
    if kind in ("DataFrame", "Series") and hasattr(value, "_update_inplace"):
        value._update_inplace(new)
        value.attrs = new.attrs
    elif kind == "DataFrame" and hasattr(value, "_df"):
        value._df = new._df
    elif kind in ("ndarray", "memmap"):
        fill_elements(value, new)
    elif kind in ("Tensor", "Parameter"):
        _fill_tensor(value, new)
        value.requires_grad_(new.requires_grad)
        if value.is_leaf:
            value.grad = new.grad
    else:
        raise TypeError("never changes in place")


def _fill_tensor(value: Any, new: Any) -> None:
    """Set the content of a tensor, in the same memory if possible: more tensors may show this memory."""
    if value.shape == new.shape and value.dtype == new.dtype and value.layout == new.layout:
        with suppress(RuntimeError):  # parts of the tensor may overlap in memory
            value.data.copy_(new.data)
            return
    value.data = new.data.to(value.device)


@functools.lru_cache(maxsize=None)
def _list_instance_modules(kind: Any) -> tuple[str, ...]:
    """Return the modules in which a package may keep shared instances of a class."""
    top = kind.__module__.partition(".")[0]
    is_installed = top in getattr(sys, "stdlib_module_names", ()) or pickles.find_package(top)[1] is not None
    return tuple(dict.fromkeys((kind.__module__, top))) if is_installed and top != "builtins" else ()


#: Module → number of its globals, and id → name of each.
_global_names: dict[str, tuple[int, dict[int, str]]] = {}


def find_global(value: Any) -> tuple[str, str] | None:
    """Return module and name of an object that a package keeps as a global; None for any other object."""
    kind: Any = type(value)
    for module_name in _list_instance_modules(kind) if isinstance(kind.__module__, str) else ():
        names = vars(sys.modules.get(module_name, types))
        if module_name not in _global_names or _global_names[module_name][0] != len(names):
            _global_names[module_name] = (
                len(names),
                {id(global_value): name for name, global_value in list(names.items())},
            )
        name = _global_names[module_name][1].get(id(value))
        if name is not None and names.get(name) is value and not _is_set_later(module_name, name):
            return module_name, name
    return None


@functools.lru_cache(maxsize=None)
def _is_set_later(module_name: str, name: str) -> bool:
    """Return whether a function of a module sets a global name, whose value then differs between processes."""
    import dis

    codes = (
        value.__code__ for value in list(vars(sys.modules[module_name]).values()) if type(value) is types.FunctionType
    )
    return any(
        step.opname == "STORE_GLOBAL" and step.argval == name
        for code in codes
        if name in code.co_names
        for step in dis.get_instructions(code)
    )


def reduce_patsy(value: Any) -> tuple[Any, ...] | None:
    """Reduce an object of patsy, which forbids pickling; None for any other value."""
    kind = type(value)
    if getattr(getattr(kind, "__getstate__", None), "__name__", "") != "no_pickling":
        return None
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return kind, (numpy.asarray(value), value.design_info)
    return NEW_OBJECT, (kind,), dict(value.__dict__)


def reduce_bokeh(value: Any) -> tuple[Any, ...] | None:
    """Reduce a container in models of bokeh, or the document of the notebook; None for any other value."""
    wrappers = sys.modules.get("bokeh.core.property.wrappers")
    if wrappers is not None and isinstance(value, wrappers.PropertyValueContainer):
        kind = type(value)
        if isinstance(value, dict):
            return kind, (), None, None, iter(value.items())
        return (kind, (), None, iter(value)) if isinstance(value, list) else (kind, (set(value),))
    io = sys.modules.get("bokeh.io")
    return (io.curdoc, ()) if io is not None and value is io.curdoc() else None


def reduce_plotly(value: Any) -> tuple[Any, ...] | None:
    """Reduce a figure of plotly without a template, which a new figure would have; None for any other value."""
    figures = sys.modules.get("plotly.basedatatypes")
    if figures is None or not isinstance(value, figures.BaseFigure):
        return None
    make, arguments = value.__reduce__()[:2]
    has_template = "template" in arguments[0].get("layout", ())
    return None if has_template else (make_figure, (make, *arguments))


def make_figure(kind: Any, *arguments: Any) -> Any:
    """Return a figure of plotly without a template."""
    figure = kind(*arguments)
    figure.layout.template = None
    return figure


def is_optimizer(value: Any) -> bool:
    """Return whether a value is an optimizer of torch."""
    optimizers = sys.modules.get("torch.optim.optimizer")
    return optimizers is not None and isinstance(value, optimizers.Optimizer)


def make_optimizer(kind: Any) -> Any:
    """Make an optimizer without state; its class calls the hooks of a step from now on."""
    optimizer = kind.__new__(kind)
    sys.modules["torch.optim.optimizer"].Optimizer.__setstate__(optimizer, {"defaults": {}})
    return optimizer


def fill_optimizer(optimizer: Any, state: dict[str, Any]) -> None:
    """Set the attributes of an optimizer; pickles omit the hooks and the link to a scheduler."""
    vars(optimizer).clear()
    optimizer.__setstate__(state)


def is_image(value: Any) -> bool:
    """Return whether a value is an image of Pillow."""
    images = sys.modules.get("PIL.Image")
    return images is not None and isinstance(value, images.Image)


def fill_image(image: Any, state: Any) -> None:
    """Set the state of an image of Pillow, in the existing memory if possible: drawing contexts write to it."""
    memory = None if getattr(image, "readonly", 0) or "P" in image.mode else getattr(image, "im", None)
    image.__setstate__(state)
    if memory is not None and (memory.mode, memory.size) == (image.im.mode, image.im.size):
        memory.paste(image.im, (0, 0, *memory.size))
        image.im = memory
