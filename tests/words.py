"""Check the words that people read: messages, help, labels, docs, docstrings.

``python tests/words.py`` reports banned words, words that the glossary has another name for, and sentences of
messages that are too long. Any finding fails.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).parents[1]
LONGEST = 20

#: A banned word → what to write instead.
BANNED = {
    r"tells?|told|telling": "show, report, list",
    r"go(?:es)? on|going on|went on|gone on": "keep running, continue, is active",
    r"by (?:itself|themselves)|of (?:its|their) own": "automatically, or leave it out",
    r"one that|ones that|those of|those that|that of": "repeat the noun",
    r"st(?:ands?|ood|anding) (?:in|on|there|here|beside|below|above|under)": "appears in, is in",
    r"beside": "next to, with",
    r"(?:is|are) to be": "must",
    r"over there": "in the run, on the remote machine",
    r"mend(?:s|ed|ing)?": "fix",
    r"reckon(?:s|ed|ing)?": "estimate",
    r"whole(?! numbers?| seconds)": "entire, complete",
    r"take note|took note": "record",
    r"(?-i:Nor)": "start a new sentence",
    r"begins? so": "start with",
    r"is no file": "isn't a file",
    r"so many": "the number",
    r"all the same": "anyway",
    r"for good": "permanently",
    r"anew": "again",
    r"at both ends": "on both sides",
}
#: In messages, help, labels and docs: a word → the glossary's.
GLOSSARY = {
    r"fetch(?:es|ed|ing)?": "download",
    r"sen[dt] along": "upload",
    r"kill(?:s|ed)? (?:a|the|this) run": "abort",
    r"lanes?": "run",
    r"erases?|wipes?|wiped": "delete",
    r"profiles?": "machine type",
}
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")
_NO_PROSE = re.compile(r"[<>|=]|NOT NULL")
_PROSE = re.compile(r"[A-Za-z']+ [A-Za-z']+ [A-Za-z']+")
_CODE = re.compile(r"```.*?```|`[^`\n]*`|https?://\S+|<!-- table: \w+ -->.*?<!-- end -->", re.DOTALL)
_TS = re.compile(
    r"""'((?:[^'\\\n]|\\.)*)'(?!\.split)|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`|>\s*([A-Z][^<>{}]*[a-z.!?])\s*<"""
)
_TS_COMMENT = re.compile(r"/\*.*?\*/|(?<![:'\"`])//[^\n]*", re.DOTALL)


class Text(NamedTuple):
    """A piece of text that people read."""

    room: str
    place: str
    text: str


class Finding(NamedTuple):
    """A piece of text that breaks a rule."""

    room: str
    place: str
    rule: str
    text: str


def texts() -> Iterator[Text]:
    """Iterate over all texts."""
    for path in sorted((ROOT / "lk_jupyter").rglob("*.py")):
        yield from _python(path)
    for path in sorted((ROOT / "labextension" / "src").rglob("*.ts*")):
        if ".test." not in path.name and path.name not in {"options.ts", "states.ts"}:
            yield from _typescript(path)
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "notebooks").rglob("*.md"))]:
        yield from _pieces("docs", path, _CODE.sub("", path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown":
                    yield from _pieces("docs", path, _CODE.sub("", cell.source))


def _pieces(room: str, path: Path, text: str) -> Iterator[Text]:
    for piece in re.split(r"\n\s*\n|\|", text):
        yield Text(room, str(path.relative_to(ROOT)), " ".join(piece.split()))


def _python(path: Path) -> Iterator[Text]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = path.relative_to(ROOT / "lk_jupyter").parts
    room = parts[0] if len(parts) > 1 else "lk_jupyter"
    docstrings = _docstrings(tree)
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if id(node) in docstrings:
            kind = "help" if room == "magics" and docstrings[id(node)] else "docstrings"
            yield Text(f"{kind}: {room}", place, str(getattr(node, "value", "")))
        elif id(node) not in inner and (text := _literal(node)) and _PROSE.search(text):
            yield Text(f"messages: {room}", place, text)


def _docstrings(tree: ast.Module) -> dict[int, bool]:
    """Return the docstrings, and for each whether it is the help of a magic."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found[id(first.value)] = isinstance(node, ast.FunctionDef) and bool(node.decorator_list)
    return found


def _literal(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return ""


def _typescript(path: Path) -> Iterator[Text]:
    code = _TS_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    for found in _TS.finditer(code):
        text = next(filter(None, found.groups()), "")
        line = code.count("\n", 0, found.start()) + 1
        if re.search(r"[A-Za-z]{2} [A-Za-z]{2}", text):
            yield Text("labels: labextension", f"{path.relative_to(ROOT)}:{line}", re.sub(r"\$\{[^}]*\}", "X", text))


def findings() -> Iterator[Finding]:
    """Iterate over the pieces of text that break a rule."""
    banned = [
        (re.compile(rf"(?<![-\w.`]){words}(?![-\w])".replace(words, f"(?:{words})"), re.IGNORECASE), w)
        for words, w in BANNED.items()
    ]
    glossary = [(re.compile(rf"(?<![-\w.`%])(?:{words})(?![-\w])", re.IGNORECASE), w) for words, w in GLOSSARY.items()]
    for room, place, text in texts():
        rules = banned if room.startswith("docstrings") else [*banned, *glossary]
        for pattern, better in rules:
            yield from (Finding(room, place, f"'{hit[0]}': {better}", text) for hit in pattern.finditer(text))
        if room.startswith(("messages", "help", "labels")):
            for sentence in _SENTENCE.split(text.partition("Example")[0]):
                if (length := len(re.findall(r"[\w'-]+", sentence))) > LONGEST and not _NO_PROSE.search(sentence):
                    yield Finding(room, place, f"a sentence of {length} words; at most {LONGEST}", sentence)


def main() -> int:
    """Report what breaks the rules; 1 if anything does."""
    found = list(findings())
    for finding in found:
        print(f"{finding.room}: {finding.place}: {finding.rule}\n    {' '.join(finding.text.split())[:200]}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
