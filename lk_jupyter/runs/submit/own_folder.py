"""Names that no other run has, made of the token of a request.

Runs may share a working folder. And a server that does not give back metadata lists the names of files.
"""

from __future__ import annotations

import ast
import json

from lk_jupyter.api.execution import StreamingExecutionRequest
from lk_jupyter.protocol.file_names import MARK
from lk_jupyter.protocol.parts import PREFIX

#: Puts the folder of a run in front of what is imported: that of the same token as the script's name, else the newest.
#: The same text for every run, so that two runs of one code have one code; it leaves no name behind.
_FIND = (
    "__import__('sys').path.insert(0, (lambda os, at: (lambda own: own if os.path.isdir(own) else max("
    f"(each.path for each in os.scandir(os.path.dirname(at)) if each.name.startswith({PREFIX!r}) and each.is_dir()), "
    f"key=os.path.getmtime))(os.path.join(os.path.dirname(at), {PREFIX!r} + os.path.splitext(at)[0][-{MARK}:])))"
    "(__import__('os'), __import__('os').path.abspath(globals().get('__file__', './_'))))"
)
#: The author's files are apart from ours, in the folder where the code works.
_FILES = "files"
_ENTER = (
    f"; __import__('sys').path.insert(0, __import__('sys').path[0] + '/{_FILES}')"
    "; __import__('os').makedirs(__import__('sys').path[0], exist_ok=True)"
    "; __import__('os').chdir(__import__('sys').path[0])"
)


def in_own_folder(request: StreamingExecutionRequest, token: str) -> StreamingExecutionRequest:
    """Return a request whose files lie in a folder of their own, and its code finds them there.

    Code that brings files of its author works in that folder.
    """
    files: dict[str, str] = json.loads(request.import_files or "{}")
    if not files:
        return request
    folder = f"{PREFIX}{token[:MARK]}"
    line = _FIND
    if not all(name.startswith(PREFIX) for name in files):
        line += _ENTER
    ours = (PREFIX, "cloudpickle/")
    places = {name: name if name.startswith(ours) else f"{_FILES}/{name}" for name in files}
    packed = json.dumps({f"{folder}/{places[name]}": text for name, text in files.items()})
    return request.model_copy(update={"import_files": packed, "code": _before(request.code, line)})


def _before(code: str, line: str) -> str:
    """Put a line in front of code so that no line of it moves, where its first statement allows that."""
    tree = ast.parse(code)
    future = [each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module == "__future__"]
    if future:
        lines = code.splitlines(keepends=True)
        last = (future[-1].end_lineno or 1) - 1
        lines[last] = f"{lines[last].partition('#')[0].rstrip()}; {line}\n"
        return "".join(lines)
    if code.startswith("\n"):
        return line + code
    is_simple = tree.body and tree.body[0].lineno == 1 and not hasattr(tree.body[0], "body")
    return f"{line}; {code}" if is_simple else f"{line}\n{code}"
