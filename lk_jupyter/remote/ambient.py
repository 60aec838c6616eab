"""State without a name: seeds, options for printing and plotting, filters of warnings, the environment.

A row of TABLE reads and sets the state of one module, which is set when the code imports the module, and not before.
"""

from __future__ import annotations

import base64
import functools
import os
import pickle
import re
import sys
import time
import types
import warnings
from contextlib import suppress
from importlib import import_module

from . import IN_RUN
from .script import files
from .script import run as driver
from .values import pickle as pickles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PROTOCOL = 4

#: Variables of the environment that belong to one machine, or whose value is likely to be a secret.
_PRIVATE_VARIABLES = re.compile(
    r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|^(LK_|LYCEUM|JUPYTER|JPY_|IPY|PYDEVD|MPLBACKEND|PATH$|HOME$|PWD$|_$|TMP)"
)


def _read_options(pandas: Any) -> dict[str, Any]:
    config = import_module("pandas._config.config")
    options = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in config._registered_options:
            with suppress(Warning):  # a deprecated option
                options[name] = pandas.get_option(name)
    return options


def _set_options(pandas: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if pandas.get_option(name) != value:
            pandas.set_option(name, value)


def _read_pandas_defaults(pandas: Any) -> dict[str, Any]:
    registered = import_module("pandas._config.config")._registered_options
    return {name: option.defval for name, option in registered.items()}


#: Key of the colormaps that the code has registered, and of the colormap in use, which may be seaborn's.
_COLORMAPS = "colormaps"


#: Key of the backend: without a window if the code has chosen so, else a backend that shows figures in the notebook.
_BACKEND, _INLINE = "backend itself", "inline"
_WITHOUT_WINDOW = {"agg", "cairo", "nbagg", "pdf", "pgf", "ps", "svg", "template"}


def _read_backend(matplotlib: Any) -> str:
    name = str(dict.__getitem__(matplotlib.rcParams, "backend")).lower()
    has_other = "display.rich" in driver.parts if IN_RUN else "inline" in os.environ.get("MPLBACKEND", "")
    return name if name in _WITHOUT_WINDOW and has_other else _INLINE  # else the choice of matplotlib


def _set_backend(matplotlib: Any, name: str) -> None:
    has_ipykernel = name != "nbagg" or import_module("importlib.util").find_spec("ipykernel")
    if name == _read_backend(matplotlib) or not has_ipykernel:
        return
    if name != _INLINE:
        matplotlib.use(name, force=False)
    elif "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        shell.enable_matplotlib(name)


#: Prefixes of options that differ between the notebook and a run.
LOCAL_PARAMS = ("backend", "interactive", "toolbar", "webagg", "savefig.directory", "tk.")


def _read_params(matplotlib: Any) -> dict[str, Any]:
    params = {name: matplotlib.rcParams._get(name) for name in matplotlib.rcParams if not name.startswith(LOCAL_PARAMS)}
    colormaps = getattr(matplotlib, "colormaps", {})
    seaborn_names = vars(sys.modules.get("seaborn.cm", types))
    registered = {
        name for name in colormaps if not isinstance(getattr(matplotlib.cm, name, None), matplotlib.colors.Colormap)
    }
    user_colormaps = {
        name: colormaps[name] for name in registered if name == params["image.cmap"] or name not in seaborn_names
    }
    return {**params, **({_COLORMAPS: user_colormaps} if user_colormaps else {}), _BACKEND: _read_backend(matplotlib)}


def _set_params(matplotlib: Any, values: dict[str, Any]) -> None:
    for name, colormap in values.get(_COLORMAPS, {}).items():
        if matplotlib.colormaps.get(name) != colormap:
            matplotlib.colormaps.register(colormap, name=name, force=True)
    _set_backend(matplotlib, values.get(_BACKEND, _read_backend(matplotlib)))
    values = {name: value for name, value in values.items() if name not in (_COLORMAPS, _BACKEND)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcParams.update(values)


def _read_colors(colors: Any) -> dict[str, tuple[float, ...]]:
    """Return the colors that letters stand for, which seaborn's themes change."""
    return {letter: tuple(colors.colorConverter.colors[letter]) for letter in colors.BASE_COLORS}


def _set_colors(colors: Any, values: dict[str, Any]) -> None:
    colors.colorConverter.colors.update(values)
    colors.colorConverter.cache.clear()


def _read_filters(module: Any) -> list[Any]:
    """Return the filters for Python's own warnings: any further filter would import a library."""
    return [row for row in module.filters if row[2].__module__ == "builtins"]


def _set_filters(module: Any, values: list[Any]) -> None:
    module.filters[:] = [*values, *(row for row in module.filters if row[2].__module__ != "builtins")]
    module.filterwarnings("ignore", "a filter after which Python reads all filters again", append=True)
    module.filters.pop()


def _read_environment(module: Any) -> dict[str, str]:
    return {name: value for name, value in module.environ.items() if not _PRIVATE_VARIABLES.search(name.upper())}


def changed_environment() -> dict[str, str]:
    """Return the variables of the environment that this process has set."""
    return _changed_items(_read_environment(os), _read_initial_environment())


def _set_environment(module: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is None:
            module.environ.pop(name, None)
        else:
            module.environ[name] = value
    if "TZ" in values and hasattr(time, "tzset"):
        time.tzset()


#: Relative paths that leave the parent folder: their text means the same on both sides.
_ABOVE_PARENT = re.compile(r"\.\.[/\\]+\.\.")


def added_paths(module: Any = sys) -> dict[str, bool]:
    """Return the folders that the code has added to the path, and whether they come before Python's own."""
    library = os.path.dirname(os.__file__)
    first = module.path.index(library) if library in module.path else 0
    return {name: module.path.index(path) < first for path in module.path if (name := _relativize_added_path(path))}


def _relativize_added_path(path: Any) -> str | None:
    """Return the name of a folder that the code has added to the path, the same on both sides, else None."""
    python = sys.prefix + os.sep, sys.base_prefix + os.sep
    if not isinstance(path, str) or path in _list_package_folders() or os.path.abspath(path).startswith(python):
        return None
    if _ABOVE_PARENT.match(path):
        return path
    start_folders = (os.getcwd(), _start_folder, *os.environ.get("PYTHONPATH", "").split(os.pathsep))
    is_far = path.startswith("/") and path not in start_folders and not re.search(r"/(\.|_lk[_/])|-packages$", path)
    return files.nearby_path(path) or (
        path if is_far and os.path.relpath(path).startswith(os.path.join("..", "..")) else None
    )


@functools.lru_cache(maxsize=None)
def _list_package_folders() -> set[str]:
    """Return the folders that installed packages have added to the path."""
    folders = set()
    for folder in [path for path in sys.path if path.endswith("-packages") and os.path.isdir(path)]:
        for name in [name for name in os.listdir(folder) if name.endswith(".pth")]:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                folders |= {os.path.join(folder, line.rstrip()) for line in file}
    return folders


#: Limits of Python, sent with the paths: the name of the getter and setter without the prefix → default.
_LIMITS = {"recursionlimit": 1000, "_int_max_str_digits": 4300}


def _read_limits(module: Any) -> dict[str, int]:
    return {name: getattr(module, "get" + name)() for name in _LIMITS if hasattr(module, "get" + name)}


def _set_sys(module: Any, values: dict[str, Any]) -> None:
    for name in [name for name in _read_limits(module) if name in values]:
        getattr(module, "set" + name)(values[name])
    for path, is_first in values.items():
        if is_first is None:
            module.path[:] = [other for other in module.path if _relativize_added_path(other) != path]
        elif path not in _LIMITS and path not in map(_relativize_added_path, module.path):
            folder = path if _ABOVE_PARENT.match(path) else os.path.abspath(path)
            module.path.insert(0 if is_first else len(module.path), folder)


#: The folder in which the code of a run started; empty in the notebook.
_start_folder = ""


def base_folder() -> str:
    """Return the folder in which the code started: paths below are sent relative to this folder."""
    folder = _start_folder or os.getcwd()
    return "" if folder == os.path.dirname(folder) else folder


def _read_folder(_: Any) -> str | None:
    if not _start_folder:
        return None
    now = os.getcwd()
    is_near = now.startswith(_start_folder) or now == os.path.dirname(_start_folder) != os.sep
    return os.path.relpath(now, _start_folder) if is_near else now


def _set_folder(_: Any, place: str) -> None:
    os.chdir(place)


#: Prefix of numpy's handling of errors, such as division by zero.
_ERRORS = "error "


def _set_numpy(numpy: Any, values: dict[str, Any]) -> None:
    errors = {name[len(_ERRORS) :]: value for name, value in values.items() if name.startswith(_ERRORS)}
    numpy.seterr(**errors)
    options = {name: value for name, value in values.items() if not name.startswith(_ERRORS)}
    if options:
        numpy.set_printoptions(**options)


#: Categories of a locale that code sets; the default of each is "C".
_LOCALE_CATEGORIES = "LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME"


def _read_locale(locale: Any) -> dict[str, str]:
    return {name: locale.setlocale(getattr(locale, name)) for name in _LOCALE_CATEGORIES}


def _set_locale(locale: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        locale.setlocale(getattr(locale, name), value)


_CONTEXT_OPTIONS = "prec", "rounding", "Emin", "Emax", "capitals", "clamp"
_SIGNAL_GROUPS = "traps", "flags"


def _read_context(decimal: Any) -> dict[str, Any]:
    context = decimal.getcontext()
    signals = {
        group: sorted(signal.__name__ for signal, is_set in getattr(context, group).items() if is_set)
        for group in _SIGNAL_GROUPS
    }
    return {**{name: getattr(context, name) for name in _CONTEXT_OPTIONS}, **signals}


def _set_context(decimal: Any, values: dict[str, Any]) -> None:
    context = decimal.getcontext()
    for name in [name for name in _CONTEXT_OPTIONS if name in values]:
        setattr(context, name, values[name])
    for group in [group for group in _SIGNAL_GROUPS if group in values]:
        for signal in list(getattr(context, group)):
            getattr(context, group)[signal] = signal.__name__ in values[group]


_TENSOR_TEXT = "precision", "threshold", "edgeitems", "linewidth", "sci_mode"


def _read_torch(torch: Any) -> tuple[Any, ...]:
    state = torch.get_rng_state().numpy(), torch.get_default_dtype(), torch.is_grad_enabled()
    text = {name: getattr(torch._tensor_str.PRINT_OPTS, name) for name in _TENSOR_TEXT}
    return (*state, text, torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision())


def _set_torch(torch: Any, values: tuple[Any, ...]) -> None:
    state, kind, grad, text, is_deterministic, precision = values
    torch.set_rng_state(torch.from_numpy(state.copy()))
    torch.set_default_dtype(kind)
    torch.set_grad_enabled(grad)
    torch.set_printoptions(**text)
    if is_deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(is_deterministic)
    torch.set_float32_matmul_precision(precision)


def _read_inline(module: Any) -> dict[str, Any]:
    """Return how figures are shown: the formats, the options, and whether figures are closed."""
    formatters = module.InteractiveShell.instance().display_formatter.formatters
    makers = [formatter.type_printers.get(module.Figure) for formatter in formatters.values()]
    makers = [maker for maker in makers if isinstance(maker, functools.partial)]
    formats = sorted(
        "retina" if "retina" in maker.func.__name__ else maker.keywords.get("fmt", "png") for maker in makers
    )
    options = {
        name: option for maker in makers for name, option in maker.keywords.items() if name not in ("fmt", "base64")
    }
    return {"formats": formats, "options": options, "close": module.InlineBackend.instance().close_figures}


def _set_inline(module: Any, values: dict[str, Any]) -> None:
    state = {**_read_inline(module), **values}
    backend, shell = module.InlineBackend.instance(), module.InteractiveShell.instance()
    backend.close_figures = state["close"]
    backend.print_figure_kwargs = state["options"]
    backend.figure_formats = set(state["formats"])
    module.select_figure_formats(shell, state["formats"], **state["options"])


#: Loggers that belong to the process, such as the loggers of its kernel.
PROCESS_LOGGERS = re.compile(r"(asyncio|comm|ipykernel|IPKernelApp|jupyter\w*|lk_jupyter|tornado|traitlets)(\.|$)")

#: The default state of a logger: level, disabled, propagate, handlers.
_QUIET: tuple[Any, ...] = (0, False, True, [])


#: The level up to which no logger writes.
_ALL_LOGGERS = "all loggers"


def _read_loggers(module: Any) -> dict[str, Any]:
    """Return name → state of each logger with a changed state; the root has an empty name."""
    loggers = {"": module.root, **module.root.manager.loggerDict}
    states = {
        name: (logger.level, logger.disabled, logger.propagate, _describe_handlers(module, logger))
        for name, logger in loggers.items()
        if isinstance(logger, module.Logger) and not PROCESS_LOGGERS.match(name)
    }
    return {
        _ALL_LOGGERS: module.root.manager.disable,
        **{name: logger for name, logger in states.items() if logger != _QUIET},
    }


def _set_loggers(module: Any, values: dict[str, Any]) -> None:
    if _ALL_LOGGERS in values:
        module.disable(values.pop(_ALL_LOGGERS))
    for name, (level, is_disabled, hands_on, handlers) in values.items():
        logger = module.getLogger(name or None)
        logger.setLevel(level)
        logger.disabled, logger.propagate = is_disabled, hands_on
        if _describe_handlers(module, logger) != handlers:
            for handler in [each for each in logger.handlers if _describe_handler(module, each)]:
                logger.removeHandler(handler)
            for handler in handlers:
                logger.addHandler(_make_handler(module, *handler))


def _describe_handlers(module: Any, logger: Any) -> list[list[Any]]:
    return list(filter(None, (_describe_handler(module, handler) for handler in logger.handlers)))


def _describe_handler(module: Any, handler: Any) -> list[Any] | None:
    """Return the stream, the level and the format of a handler that prints; None for any other handler."""
    formatter = handler.formatter
    streams = [name for name in ("stdout", "stderr") if getattr(handler, "stream", None) is getattr(sys, name)]
    if type(handler) is not module.StreamHandler or type(formatter) not in (type(None), module.Formatter):
        return None
    if not streams or handler.filters:
        return None
    words = [formatter._fmt, formatter.datefmt, _find_style(module, formatter)] if formatter else None
    return [streams[0], handler.level, words]


def _find_style(module: Any, formatter: Any) -> str:
    return next(str(style) for style, (kind, _) in module._STYLES.items() if type(formatter._style) is kind)


def _make_handler(module: Any, stream: str, level: int, words: list[Any] | None) -> Any:
    handler = module.StreamHandler(getattr(sys, stream))
    handler.setLevel(level)
    handler.setFormatter(module.Formatter(*words) if words else None)
    return handler


def has_other_handlers(logger: Any) -> bool:
    """Return whether a logger has handlers that the peer doesn't get: handlers that write to files or connections."""
    module = sys.modules["logging"]
    return any(_describe_handler(module, handler) is None for handler in logger.handlers)


def _read_templates(module: Any) -> dict[str, Any]:
    templates = module.templates
    user_templates = {name: templates[name] for name in templates if name not in type(templates)()}
    return {"templates": user_templates, "template": templates.default}


def _set_templates(module: Any, values: dict[str, Any]) -> None:
    for name, template in values.get("templates", {}).items():
        module.templates[name] = template
    if "template" in values:
        module.templates.default = values["template"]


def _read_renderers(module: Any) -> dict[str, Any]:
    renderers = module.renderers
    loaded = "" if getattr(renderers, "_to_activate", ()) else renderers.default
    return {"renderer": renderers.default, "loaded": loaded}


def _set_renderers(module: Any, values: dict[str, Any]) -> None:
    if "renderer" in values:
        module.renderers.default = values["renderer"]
    if values.get("loaded") == module.renderers.default:  # the notebook has the script already
        module.renderers._to_activate = []


def _read_express(module: Any) -> dict[str, Any]:
    return {name: getattr(module.defaults, name) for name in module.defaults.__slots__}


def _set_express(module: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(module.defaults, name, value)


def _read_bokeh(module: Any) -> dict[str, Any]:
    state = module.curstate()
    return {"notebook": state.notebook_type, "theme": state.document.theme._json}


def _set_bokeh(module: Any, values: dict[str, Any]) -> None:
    state = module.curstate()
    if values.get("notebook"):
        state.output_notebook(values["notebook"])
    if "theme" in values:
        state.document.theme = import_module("bokeh.themes").Theme(json=values["theme"])


def _set_next_id(module: Any, values: dict[str, Any]) -> None:
    """Continue the numbers of models: two models with the same number hide each other on a page."""
    module._simple_id = max(module._simple_id, values["next"])


def _set_next_hook(module: Any, values: dict[str, Any]) -> None:
    """Continue the numbers of hooks: a hook replaces an earlier hook with the same number."""
    module.RemovableHandle.next_id = max(module.RemovableHandle.next_id, values["next"])


def _is_inline_pending() -> bool:  # IPython turns the interactive mode on at the first figure
    return "inline" in os.environ.get("MPLBACKEND", "") and not _SET_BEFORE & sys.modules.keys()


def _set_jax(jax: Any, values: dict[str, Any]) -> None:
    for name, value in _changed_items(values, jax.config.values).items():
        jax.config.update(name, value)


def _set_calendar(calendar: Any, values: dict[str, Any]) -> None:
    calendar.setfirstweekday(**values)


def _read_dialects(csv: Any) -> dict[str, dict[str, Any]]:
    """Return the dialects that the code has registered."""
    options = (
        "delimiter",
        "doublequote",
        "escapechar",
        "lineterminator",
        "quotechar",
        "quoting",
        "skipinitialspace",
        "strict",
    )
    names = [name for name in csv.list_dialects() if name not in ("excel", "excel-tab", "unix")]
    return {name: {option: getattr(csv.get_dialect(name), option) for option in options} for name in names}


def _set_dialects(csv: Any, values: dict[str, Any]) -> None:
    for name, options in values.items():
        csv.register_dialect(name, **options)


def _make_setter(get: str, set_some: str) -> Callable[[Any, dict[str, Any]], None]:
    """Return a function that sets only changed options: setting a deprecated option warns."""

    def set_all(module: Any, values: dict[str, Any]) -> None:
        if changed := _changed_items(values, getattr(module, get)()):
            getattr(module, set_some)(**changed)

    return set_all


_ALTAIR_REGISTRIES = ("data_transformers", "renderers", "theme")


def _read_altair(module: Any) -> dict[str, Any]:
    registries = {name: getattr(module, name) for name in _ALTAIR_REGISTRIES if hasattr(module, name)}
    return {name: (registry.active, dict(registry.options)) for name, registry in registries.items()}


def _set_altair(module: Any, values: dict[str, Any]) -> None:
    for name, (active, options) in values.items():
        getattr(module, name).enable(active, **options)


#: Module → function that reads the state, function that sets the state, and function that reads the default if known.
TABLE: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any], Callable[[Any], Any] | None]] = {
    "random": (lambda module: module.getstate(), lambda module, value: module.setstate(value), None),
    "numpy.random": (lambda module: module.get_state(), lambda module, value: module.set_state(value), None),
    "numpy": (
        lambda module: {
            **{name: option for name, option in module.get_printoptions().items() if name != "override_repr"},
            **{_ERRORS + name: handling for name, handling in module.geterr().items()},
        },
        _set_numpy,
        None,
    ),
    "pandas": (_read_options, _set_options, _read_pandas_defaults),
    "matplotlib": (_read_params, _set_params, lambda module: {**module.rcParamsDefault, _BACKEND: _INLINE}),
    "matplotlib.pyplot": (
        lambda module: {"interactive": module.isinteractive() or _is_inline_pending()},
        lambda module, values: (module.ion if values["interactive"] else module.ioff)(),
        lambda _: {"interactive": True},
    ),
    "matplotlib.colors": (_read_colors, _set_colors, lambda module: dict(module.BASE_COLORS)),
    "sklearn": (lambda module: module.get_config(), _make_setter("get_config", "set_config"), None),
    "xarray": (lambda module: dict(module.get_options()), _make_setter("get_options", "set_options"), None),
    "decimal": (_read_context, _set_context, None),
    "locale": (_read_locale, _set_locale, lambda _: dict.fromkeys(_LOCALE_CATEGORIES, "C")),
    "torch": (_read_torch, _set_torch, None),
    "torch.utils.hooks": (lambda module: {"next": module.RemovableHandle.next_id}, _set_next_hook, None),
    "matplotlib_inline.backend_inline": (
        _read_inline,
        _set_inline,
        lambda _: {"formats": ["png"], "options": {"bbox_inches": "tight"}, "close": True},
    ),
    "logging": (_read_loggers, _set_loggers, lambda _: {"": (30, False, True, []), _ALL_LOGGERS: 0}),
    "plotly.io": (_read_templates, _set_templates, None),
    # Plotly imports renderers on first use, which takes 1.5 s.
    "plotly.io._renderers": (_read_renderers, _set_renderers, None),
    "plotly.express": (_read_express, _set_express, None),
    "sympy.printing.printer": (
        lambda module: dict(module.Printer._global_settings),
        lambda module, values: module.Printer._global_settings.update(values),
        None,
    ),
    "bokeh.io.state": (_read_bokeh, _set_bokeh, None),
    "bokeh.util.serialization": (lambda module: {"next": module._simple_id}, _set_next_id, None),
    "dask.config": (lambda module: dict(module.config), lambda module, values: module.config.update(values), None),
    "jax": (lambda module: dict(module.config.values), _set_jax, None),
    "calendar": (lambda module: {"firstweekday": module.firstweekday()}, _set_calendar, None),
    "csv": (_read_dialects, _set_dialects, None),
    "altair": (_read_altair, _set_altair, None),
    "warnings": (_read_filters, _set_filters, None),
    "os": (_read_environment, _set_environment, lambda _: _read_initial_environment()),
    "sys": (lambda module: {**added_paths(), **_read_limits(module)}, _set_sys, lambda _: _LIMITS),
    "os.path": (_read_folder, _set_folder, None),
}

_SET_BEFORE = {"matplotlib_inline.backend_inline"}  # modules whose state the code may set before the import


def read_states() -> dict[str, str]:
    """Return module → state of imported modules, if changed from the state after the import."""
    states = {}
    for name, (get, _, read_initial) in TABLE.items():
        module = sys.modules.get(name)
        if module is None:  # reading the state would import the module
            continue
        try:
            value = _changed_items(get(module), read_initial(module)) if read_initial else get(module)
            if value:
                states[name] = _encode_state(value)
        except Exception:
            continue
    return states


def set_states(states: Mapping[str, str]) -> dict[str, str]:
    """Set states; return module → reason of each failure."""
    failed = {}
    for name, packed in states.items():
        if name not in TABLE:
            continue
        try:
            TABLE[name][1](import_module(name), pickles.loads(base64.b64decode(packed)))
        except Exception as error:
            failed[name] = "{} didn't receive the notebook's state ({}: {})".format(name, type(error).__name__, error)
    return failed


def set_paths(states: Mapping[str, str]) -> None:
    """Set the search paths of modules, before values are read that need these modules."""
    set_states({name: states[name] for name in ("sys",) if name in states})


def _encode_state(value: Any) -> str:
    return base64.b64encode(pickle.dumps(value, PROTOCOL)).decode()


def _changed_items(value: Mapping[str, Any], initial: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name not in initial or not _is_equal(initial[name], item)}


def _is_equal(first: Any, second: Any) -> bool:
    try:
        return bool(first == second)
    except Exception:
        return _encode_state(first) == _encode_state(second)


def _read_initial_environment() -> dict[str, str]:
    """Return the environment with which this process was started, if the system shows it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = [entry.partition(b"=") for entry in file.read().split(b"\0")]
    except OSError:
        return dict(os.environ)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


class StateWatch:
    """The states of a run: set as the modules are imported, and compared at the end."""

    def __init__(self, states: dict[str, str]) -> None:
        global _start_folder  # noqa: PLW0603 (one process has one folder)
        _start_folder = os.getcwd()
        self._states = states
        self._initial_states: dict[str, Any] = {}
        self._finding: set[str] = set()
        sys.meta_path.insert(0, self)
        for name in [name for name in TABLE if name in sys.modules]:
            self.set_state(name)

    def set_state(self, name: str) -> None:
        """Set the state of a module that is imported now."""
        if name in self._initial_states:
            return
        if name in self._states:
            for reason in set_states({name: self._states[name]}).values():
                sys.stderr.write(reason + "\n")
        self._initial_states[name] = self._read_state(name)
        if name in _SET_BEFORE:
            state = pickles.loads(base64.b64decode(self._states[name])) if name in self._states else {}
            read_initial: Any = TABLE[name][2]
            self._initial_states[name] = {**read_initial(sys.modules[name]), **state}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of the next finder, with a loader that also sets the state."""
        if name not in TABLE or name in self._finding:
            return None
        self._finding.add(name)
        try:
            specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
            spec: Any = next((spec for spec in specs if spec is not None and spec.loader is not None), None)
        finally:
            self._finding.discard(name)
        if spec is not None:
            load = spec.loader.exec_module

            def load_and_set(module: Any) -> None:
                load(module)
                self.set_state(name)

            spec.loader.exec_module = load_and_set
        return spec

    def changed(self) -> dict[str, str]:
        """Return module → changed state."""
        states = {}
        for name, initial in list(self._initial_states.items()):  # reading a state may import a further module
            value = self._read_state(name)
            is_options = isinstance(value, dict) and isinstance(initial, dict)
            changed = _changed_items(value, initial) if is_options else value
            if name in ("os", "sys") and is_options:
                changed.update(dict.fromkeys(initial.keys() - value.keys()))
            if changed is not None and not _is_equal(changed, {} if is_options else initial):
                states[name] = _encode_state(changed)
        return states

    @staticmethod
    def _read_state(name: str) -> Any:
        """Return the state of a module as an independent value; None for no state."""
        try:
            return pickle.loads(pickle.dumps(TABLE[name][0](sys.modules[name]), PROTOCOL))
        except Exception:
            return None
