"""Runs the author's file in place of the script, and sends messages to the notebook.

The script is two lines that call ``main``; the settings next to the script list the file to run, and the parts, which
are uploaded modules, to call before and after. Rich outputs are sent to the notebook in frames: see ``frame``. Imports
almost nothing: each import delays every start.
"""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable
    from typing import Any

SETTINGS = "_lk_settings.json"
CODE = "_lk_code.txt"
KEY = "_lk_key.txt"
FOLDER = os.path.abspath(os.path.join(__file__, "..", "..", ".."))

#: The package of this module, and its folder in a run.
_PACKAGE = __name__.rpartition(".script.")[0]

#: Names of the parts that this run has. Optional parts share state in this module, without imports: whether the state
#: of the notebook is carried, names that are not the author's with the values, id of an output → widget, functions to
#: call once IPython's shell is made, stderr in the order of stdout, and the function that records the last value.
parts: set[str] = set()
carries = False
hidden: dict[str, Any] = {}
widgets: dict[str, Any] = {}
shell_hooks: list[Callable[[], None]] = []
ordered_errors: Any = None
record_last: Callable[[Any], None] | None = None

#: Is called with the error of the code, before the parts send anything; returns the error of the run.
on_end: Callable[[BaseException | None], BaseException | None] | None = None

#: The exit code of code that fails because ``script.stop`` interrupted it.
exit_code = 1

#: Bytes of a line in a frame: a pipe accepts a line of this length undivided, with any number of writers.
LINE_BYTES = 4000
_TOP_LEVEL_AWAIT = 0x2000

#: Attributes of a node for its place in the source.
POSITION = "lineno", "col_offset", "end_lineno", "end_col_offset"

#: Flags of code for imports from ``__future__``.
_FUTURE = 0x1FE0000

#: Prefix of the ids of frames on a VM that replaced another: its processes can have the same ids.
_attempt = os.environ.get("LK_ATTEMPT", "")

_nonce = ""
_key = b""
_sign: Any = None
_number = 0
_file = ""
_source = _text = ""
_out, _err = sys.stdout, sys.stderr


def main(namespace: dict[str, Any]) -> None:
    """Run the file of the settings in this namespace, then end the process as a script ends."""
    global _nonce, _key, _file, _source, _text, _out, _err  # noqa: PLW0603 (one process runs one file)
    _out, _err = sys.stdout, sys.stderr
    atexit.register(delete_uploads)
    settings = _read_settings()
    _nonce = settings.pop("nonce")
    _key = _read_key()
    namespace.pop(_PACKAGE, None)
    _source = settings["source"]
    exec(settings["first"], namespace)
    with open(os.path.join(FOLDER, CODE), encoding="utf-8", newline="") as file:
        _text = file.read()
    _file = _write_code(settings["cell"])
    namespace["__file__"] = _file
    loaded = [(_import_part(name), part_settings) for name, part_settings in settings["parts"].items()]
    sys.exit(_run_all(loaded, namespace, settings))


def _import_part(name: str) -> Any:
    """Import a part, such as ``display.rich``."""
    parts.add(name)
    return __import__("{}.{}".format(_PACKAGE, name), fromlist=["before"])


def _read_settings() -> dict[str, Any]:
    """Read and delete the settings: with the nonce, code could send messages to the notebook."""
    path = os.path.join(FOLDER, SETTINGS)
    with open(path, encoding="utf-8") as file:
        # JSON is a Python literal except for three words; the json module takes long to import.
        settings: dict[str, Any] = eval(file.read(), {"true": True, "false": False, "null": None})
    try:
        os.unlink(path)
    except OSError:
        pass
    return settings


def _read_key() -> bytes:
    """Read and delete the key that signs messages; a run that was not sent by lk_jupyter has no key."""
    global _sign  # noqa: PLW0603
    path = os.path.join(FOLDER, KEY)
    try:
        with open(path, encoding="ascii") as file:
            key = bytes.fromhex(file.read())
    except OSError:
        return b""
    from .. import sign as _sign  # now: the code may change the search path

    try:
        os.unlink(path)
    except OSError:
        pass
    return key


def _write_code(name: str) -> str:
    """Write the author's file next to the uploaded files, so that all readers of the file find it."""
    path = os.path.join(FOLDER, name)
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(_text)
    except OSError:
        import linecache

        linecache.cache[path] = len(_text), None, _text.splitlines(True), path
    return path


def delete_uploads() -> None:
    """Delete the uploaded files, as the last step: the working directory may be a bucket, which outlives the run."""
    if not os.path.basename(FOLDER).startswith("_lk_"):
        return
    for folder, _, names in os.walk(FOLDER, topdown=False):
        top = os.path.relpath(folder, FOLDER).split(os.sep)[0]
        is_internal = top in (_PACKAGE, "cloudpickle") or os.path.basename(folder) == "__pycache__"
        try:
            for name in names:
                if is_internal or name.startswith("_lk_") or os.path.join(folder, name) == _file:
                    os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
        except OSError:  # files of the code stay
            pass


def _run_all(loaded: list[tuple[Any, dict[str, Any]]], namespace: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Run the parts and the code; return the exit code, or the argument of ``sys.exit``."""
    error = None
    try:
        for part, part_settings in loaded:
            if hasattr(part, "before"):
                part.before(part_settings, namespace)
        _execute_code(namespace, settings)
    except BaseException as raised:
        error = raised
        _show_error(error)
    error = on_end(error) if on_end else error
    for part, part_settings in loaded:
        try:
            if hasattr(part, "after"):
                part.after(part_settings, namespace, error)
        except BaseException as raised:
            error = raised if error is None else error
            _show_error(raised)
    for folder in filter(os.path.ismount, map("/{}".format, settings.get("look", ()))):
        frame("place", {"bucket": folder})
        break
    if isinstance(error, SystemExit):
        return error.code
    return 0 if error is None else exit_code


def _execute_code(namespace: dict[str, Any], settings: dict[str, Any]) -> None:
    """Run the code; compile each statement of a cell after the statement before, as a notebook does."""
    tree = _parse_code(_text, settings)
    import _ast

    waiting = [_ast.Module([node], []) for node in tree.body] if settings["is_cell"] else [tree]
    flags = settings["flags"] | _TOP_LEVEL_AWAIT

    def run_next_statement() -> Any:
        nonlocal flags
        code = compile(waiting.pop(0), _file, "exec", flags, True)
        flags |= code.co_flags & _FUTURE
        needs_loop = settings["is_cell"] and _LOOP_FUNCTIONS.intersection(code.co_names)
        return _run_in_loop(code, namespace) if needs_loop else eval(code, namespace)

    while waiting:
        awaitable = run_next_statement()
        if awaitable is not None:
            import asyncio

            error = asyncio.run(_await_all(awaitable, waiting, run_next_statement))
            if error is not None:
                raise error


#: Functions that need the loop that is active in every notebook, also without ``await``.
_LOOP_FUNCTIONS = {"create_task", "ensure_future", "get_running_loop"}


async def _run_in_loop(code: types.CodeType, namespace: dict[str, Any]) -> None:
    awaitable = eval(code, namespace)
    if awaitable is not None:
        await awaitable


async def _await_all(awaitable: Any, waiting: list[Any], run_next_statement: Callable[[], Any]) -> Any:
    """Await a statement and all that follow, in one loop; return the error that no coroutine can raise."""
    await awaitable
    while waiting:
        try:
            awaitable = run_next_statement()
        except StopIteration as error:
            return error
        if awaitable is not None:
            await awaitable
    return None


def _parse_code(source: str, settings: dict[str, Any]) -> Any:
    """Return the syntax tree of the file, in which the last expression, or each, is shown as the settings require."""
    import _ast

    tree: Any = compile(source, _file, "exec", _ast.PyCF_ONLY_AST | _TOP_LEVEL_AWAIT, True)
    first = 1 if tree.body and isinstance(tree.body[0], _ast.Expr) else 0  # a docstring, perhaps
    if not settings["is_cell"]:
        tree.body[first:] = sorted(tree.body[first:], key=lambda node: getattr(node, "module", "") != "__future__")
    for node in tree.body[-1:] if settings["show_last"] != "all" else tree.body:
        if settings["show_last"] and isinstance(node, _ast.Expr):
            place = {name: getattr(node.value, name) for name in POSITION}
            show_call = _ast.Name("_lk_show_last", _ast.Load(), **place)
            node.value = _ast.Call(show_call, [node.value], [], **place)
    modules: list[Any] = [sys.modules.get("{}.{}".format(_PACKAGE, name)) for name in settings["parts"]]
    for part in modules:
        if hasattr(part, "rewritten"):
            tree = part.rewritten(tree)
    return tree


#: Shows an error on stderr; a part may replace the function.
def show_error(error: BaseException, trace: types.TracebackType | None) -> None:
    """Print the traceback as Python does."""
    import traceback

    traceback.print_exception(type(error), error, trace)


#: Modules that set a hook for errors by import, as IPython on Python 3.10, or at each start of Python on Ubuntu.
_FOREIGN_HOOKS = {"exceptiongroup._formatting", "apport_python_hook"}


def _show_error(error: BaseException) -> None:
    if isinstance(error, SystemExit):
        return
    if hasattr(sys.stderr, "real"):
        sys.stderr.flush()
        sys.stderr = sys.stderr.real
    error.__traceback__ = author_trace(error)
    if type(error) is EOFError:
        _explain_input_error(error)
    hook = sys.excepthook
    if hook is not sys.__excepthook__ and getattr(hook, "__module__", "") not in _FOREIGN_HOOKS:
        hook(type(error), error, error.__traceback__)
    else:
        show_error(error, error.__traceback__)


def _explain_input_error(error: BaseException) -> None:
    """Put words into the error of ``input`` and ``getpass``, which a run cannot answer."""
    last: Any = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    by_getpass = os.path.basename(last.tb_frame.f_code.co_filename) == "getpass.py"
    if by_getpass or error.args == ("EOF when reading a line",):
        error.args = ("a run has no input for {}()".format("getpass" if by_getpass else "input"),)
        error.__suppress_context__ = True


def author_trace(error: BaseException) -> types.TracebackType | None:
    """Return the traceback from the author's file on, without the frames that led there."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != _file:
        trace = trace.tb_next
    return trace or error.__traceback__


def set_attempt(attempt: str) -> None:
    """Set a prefix for the ids of frames, for a run that continues the output of another."""
    global _attempt  # noqa: PLW0603
    _attempt = attempt


def frame(kind: str, payload: dict[str, Any], stream: Any = None) -> None:
    """Send a message to the notebook, after all printed text; the payload must be valid JSON."""
    send(lines(kind, payload, next_id()), stream)


def real_stderr() -> Any:
    """Return the real stderr."""
    return _err


def send(data: Iterable[bytes], stream: Any = None) -> None:
    """Write lines of frames immediately, to the real stdout or the given stream."""
    stream = stream or _out
    stream.flush()
    raw = stream.buffer
    for line in data:
        raw.write(line)
        raw.flush()


def inline_frame(kind: str, payload: dict[str, Any]) -> bytes:
    """Return a frame for the midst of a line."""
    return b"".join(line[:-1] for line in lines(kind, payload, next_id(), b"+"))


def next_id() -> str:
    """Return the id of the next frame, unique among all processes of the run."""
    global _number  # noqa: PLW0603
    _number += 1
    return "{}{:x}-{}".format(_attempt, os.getpid(), _number)


def _sign_frame(kind: str, seq: str, data: bytes) -> bytes:
    """Return the signature of a frame; empty for a kind that only shows something."""
    return _sign.signature(_key, seq.encode(), data) if _key and kind in _sign.KINDS else b""


def lines(kind: str, payload: dict[str, Any], seq: str, marker: bytes = b"") -> list[bytes]:
    """Return a frame as lines of bytes; a terminal shows nothing of these lines."""
    import json  # not at the start of a run: each import delays the start
    import zlib
    from binascii import b2a_base64, crc32

    data = zlib.compress(json.dumps([kind, payload]).encode(), 1)
    packed = b2a_base64(data + _sign_frame(kind, seq, data), newline=False)
    pieces = [packed[at : at + LINE_BYTES - 200] for at in range(0, len(packed), LINE_BYTES - 200)]
    heads = ["{};{};{}/{}".format(_nonce, seq, at, len(pieces)).encode() for at in range(len(pieces))]
    bodies = [head + marker + b";" + piece for head, piece in zip(heads, pieces)]
    return [b"\x1b]7411;%s;%08x\x07\n" % (body, crc32(body)) for body in bodies]
