"""Runs the author's file in the place of the script that was started, and speaks to the notebook.

Travels with a run. The script is two lines that call ``main``; the settings next to it say which
file to run and which parts, modules that travel too, to call before and after. Rich outputs
go to the notebook in frames: see ``frame``. Imports almost nothing: it delays every start.
"""

import atexit
import os
import sys

SETTINGS = "_lk_settings.json"
CODE = "_lk_code.txt"
KEY = "_lk_key.txt"
HERE = os.path.abspath(os.path.join(__file__, "..", "..", ".."))

#: The package that this module is in, and its folder of a run.
_PACKAGE = __name__.rpartition(".script.")[0]

#: Names of the parts that this run has. Parts that may be absent find each other here, without imports: whether the
#: state of the notebook is carried, names that are not the author's with their values, id of an output → its widget,
#: functions to call once IPython's shell is made, stderr in the order of stdout, and the function that records the
#: last value.
parts = set()
carries = False
hidden = {}
widgets = {}
shell_hooks = []
ordered_errors = None
record_last = None

#: A frame is lines that a pipe takes whole, whoever else writes to it.
LINE_BYTES = 4000
_TOP_LEVEL_AWAIT = 0x2000

#: Flags of code for all that it has imported from the future.
_FUTURE = 0x1FE0000

_nonce = ""
_key = b""
_sign = None
_number = 0
_file = ""
_source = _text = ""
_out, _err = sys.stdout, sys.stderr


def main(namespace):
    """Run what the settings say in this namespace, then end the process as a script ends it."""
    global _nonce, _key, _file, _source, _text, _out, _err  # noqa: PLW0603 (one process runs one file)
    _out, _err = sys.stdout, sys.stderr
    atexit.register(_tidy)
    settings = _settings()
    _nonce = settings.pop("nonce")
    _key = _read_key()
    namespace.pop(_PACKAGE, None)
    _source = settings["source"]
    exec(settings["first"], namespace)
    with open(os.path.join(HERE, CODE), encoding="utf-8", newline="") as file:
        _text = file.read()
    _file = _place(settings["cell"])
    namespace["__file__"] = _file
    loaded = [(_part(name), given) for name, given in settings["parts"].items()]
    sys.exit(_lived(loaded, namespace, settings))


def _part(name):
    """Import a part, such as ``display.rich``."""
    parts.add(name)
    return __import__("{}.{}".format(_PACKAGE, name), fromlist=["before"])


def _settings():
    """Read the settings and take them away: who knows the nonce can speak to the notebook."""
    path = os.path.join(HERE, SETTINGS)
    with open(path, encoding="utf-8") as file:
        # It is JSON, which is a Python literal but for three words; the json module takes long to import.
        settings = eval(file.read(), {"true": True, "false": False, "null": None})
    try:
        os.unlink(path)
    except OSError:
        pass
    return settings


def _read_key():
    """Read the key that signs messages and delete its file; a run that was not sent by lk_jupyter has none."""
    global _sign  # noqa: PLW0603
    path = os.path.join(HERE, KEY)
    try:
        with open(path, encoding="ascii") as file:
            key = bytes.fromhex(file.read())
    except OSError:
        return b""
    from .. import sign as _sign  # now: the code may change what is found

    try:
        os.unlink(path)
    except OSError:
        pass
    return key


def _place(name):
    """Put the author's file next to the other files, so that everything that reads it finds it."""
    path = os.path.join(HERE, name)
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(_text)
    except OSError:
        import linecache

        linecache.cache[path] = len(_text), None, _text.splitlines(True), path
    return path


def _tidy():
    """Take away what came along, as the last thing: the working folder may be a bucket, which outlives the run."""
    if not os.path.basename(HERE).startswith("_lk_"):
        return
    for folder, _, names in os.walk(HERE, topdown=False):
        top = os.path.relpath(folder, HERE).split(os.sep)[0]
        is_ours = top in (_PACKAGE, "cloudpickle") or os.path.basename(folder) == "__pycache__"
        try:
            for name in names:
                if is_ours or name.startswith("_lk_") or os.path.join(folder, name) == _file:
                    os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
        except OSError:  # what the code has written there stays
            pass


def _lived(loaded, namespace, settings):
    """Run everything; return the exit code, or what ``sys.exit`` was given."""
    error = None
    try:
        for part, given in loaded:
            if hasattr(part, "before"):
                part.before(given, namespace)
        _execute(namespace, settings)
    except BaseException as raised:
        error = raised
        _show_error(error)
    for part, given in loaded:
        try:
            if hasattr(part, "after"):
                part.after(given, namespace, error)
        except BaseException as raised:
            error = raised if error is None else error
            _show_error(raised)
    for folder in filter(os.path.ismount, map("/{}".format, settings.get("look", ()))):
        frame("place", {"bucket": folder})
        break
    if isinstance(error, SystemExit):
        return error.code
    return 0 if error is None else 1


def _execute(namespace, settings):
    """Run the code; a cell one statement after the other, each compiled when its turn comes, as a notebook does."""
    tree = _tree(_text, settings)
    import _ast

    waiting = [_ast.Module([node], []) for node in tree.body] if settings["is_cell"] else [tree]
    flags = settings["flags"] | _TOP_LEVEL_AWAIT

    def step():
        nonlocal flags
        code = compile(waiting.pop(0), _file, "exec", flags, True)
        flags |= code.co_flags & _FUTURE
        asks = settings["is_cell"] and _ASKS_FOR_LOOP.intersection(code.co_names)
        return _in_loop(code, namespace) if asks else eval(code, namespace)

    while waiting:
        awaitable = step()
        if awaitable is not None:
            import asyncio

            error = asyncio.run(_awaited(awaitable, waiting, step))
            if error is not None:
                raise error


#: What needs the loop that is active in every notebook, also without ``await``.
_ASKS_FOR_LOOP = {"create_task", "ensure_future", "get_running_loop"}


async def _in_loop(code, namespace):
    awaitable = eval(code, namespace)
    if awaitable is not None:
        await awaitable


async def _awaited(awaitable, waiting, step):
    """Await a statement and all that follow, in one loop; return the error that no coroutine can raise."""
    await awaitable
    while waiting:
        try:
            awaitable = step()
        except StopIteration as error:
            return error
        if awaitable is not None:
            await awaitable
    return None


def _tree(source, settings):
    """Return the syntax tree of the file; its last expression, or each, is shown where the settings say so."""
    import _ast

    tree = compile(source, _file, "exec", _ast.PyCF_ONLY_AST | _TOP_LEVEL_AWAIT, True)
    first = 1 if tree.body and isinstance(tree.body[0], _ast.Expr) else 0  # it may be the docstring
    if not settings["is_cell"]:
        tree.body[first:] = sorted(tree.body[first:], key=lambda node: getattr(node, "module", "") != "__future__")
    for node in tree.body[-1:] if settings["show_last"] != "all" else tree.body:
        if settings["show_last"] and isinstance(node, _ast.Expr):
            place = {name: getattr(node.value, name) for name in node.value._attributes}
            shown = _ast.Name("_lk_show_last", _ast.Load(), **place)
            node.value = _ast.Call(shown, [node.value], [], **place)
    for part in [sys.modules.get("{}.{}".format(_PACKAGE, name)) for name in settings["parts"]]:
        if hasattr(part, "rewritten"):
            tree = part.rewritten(tree)
    return tree


#: Shows an error on stderr; a part may put a better one in its place.
def show_error(error, shown):
    """Print the traceback as Python does."""
    import traceback

    traceback.print_exception(type(error), error, shown)


#: Modules that put in a hook for errors of their own: by their import, as IPython has it on Python 3.10, or at each
#: start of Python on Ubuntu.
_NOT_BY_THE_CODE = {"exceptiongroup._formatting", "apport_python_hook"}


def _show_error(error):
    if isinstance(error, SystemExit):
        return
    if hasattr(sys.stderr, "real"):
        sys.stderr.flush()
        sys.stderr = sys.stderr.real
    error.__traceback__ = own_frames(error)
    if type(error) is EOFError:
        _say_who_answers(error)
    hook = sys.excepthook
    if hook is not sys.__excepthook__ and getattr(hook, "__module__", "") not in _NOT_BY_THE_CODE:
        hook(type(error), error, error.__traceback__)
    else:
        show_error(error, error.__traceback__)


def _say_who_answers(error):
    """Put words into the error of ``input`` and ``getpass``, which a run cannot answer."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    by_getpass = os.path.basename(last.tb_frame.f_code.co_filename) == "getpass.py"
    if by_getpass or error.args == ("EOF when reading a line",):
        error.args = ("nobody can answer {}() in a run".format("getpass" if by_getpass else "input"),)
        error.__suppress_context__ = True


def own_frames(error):
    """Return the traceback from the author's file on, without the frames that led there."""
    shown = error.__traceback__
    while shown and shown.tb_frame.f_code.co_filename != _file:
        shown = shown.tb_next
    return shown or error.__traceback__


def frame(kind, payload, stream=None):
    """Send something to the notebook, after what was printed so far; JSON can hold the payload."""
    send(lines(kind, payload, _next()), stream)


def errors():
    """Return the real stderr."""
    return _err


def send(data, stream=None):
    """Write lines of frames, each at once, to the real stdout or the stream that is given."""
    stream = stream or _out
    stream.flush()
    raw = stream.buffer
    for line in data:
        raw.write(line)
        raw.flush()


def aside(kind, payload):
    """Return a frame for the midst of a line."""
    return b"".join(line[:-1] for line in lines(kind, payload, _next(), b"+"))


def _next():
    global _number  # noqa: PLW0603
    _number += 1
    return "{:x}-{}".format(os.getpid(), _number)


def _signature(kind, seq, data):
    """Return the signature of a frame; empty for a kind that only shows something."""
    return _sign.signature(_key, seq.encode(), data) if _key and kind in _sign.KINDS else b""


def lines(kind, payload, seq, goes_on=b""):
    """Return a frame as lines of bytes; a terminal shows nothing of them."""
    import json  # like the others, not at the start of a run: each delays it
    import zlib
    from binascii import b2a_base64, crc32

    data = zlib.compress(json.dumps([kind, payload]).encode(), 1)
    packed = b2a_base64(data + _signature(kind, seq, data), newline=False)
    pieces = [packed[at : at + LINE_BYTES - 200] for at in range(0, len(packed), LINE_BYTES - 200)]
    heads = ["{};{};{}/{}".format(_nonce, seq, at, len(pieces)).encode() for at in range(len(pieces))]
    bodies = [head + goes_on + b";" + piece for head, piece in zip(heads, pieces)]
    return [b"\x1b]7411;%s;%08x\x07\n" % (body, crc32(body)) for body in bodies]
