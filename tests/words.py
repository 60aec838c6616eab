"""Check the words that people read: messages, help, labels, docs, docstrings, comments, subjects of commits.

``python tests/words.py`` reports banned words, words that the glossary has another name for, and sentences of
messages that are too long. Any finding fails. The words of ``IDIOMS``, all banned words in comments, and long
sentences of the docs have a limit for each package in ``limits.json``, which may only fall: ``--lower`` records fewer,
``--list ROOM`` prints those of a room, such as ``"docstrings: api"``. ``--sample SEED`` prints 80 random texts, for a
reader who counts those that must be read twice; ``--sample all`` prints all texts. Inserted values are ``{names}``.
"""

from __future__ import annotations

import ast
import io
import random
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import limits
import nbformat

ROOT = Path(__file__).parents[1]
LONGEST = 20
#: Words of a sentence of the docs, at most. The changelog has lines, not sentences.
LONGEST_OF_DOCS = 25
GROUP = "words"

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
#: Words with a limit for each package → what to write instead.
IDIOMS = {
    r"say(?:s|ing)?|said": "show, report, state",
    r"hold(?:s|ing)?|held": "contain, keep",
    r"at once": "immediately, at the same time",
    r"(?:is|are) named|names (?:a|an|the|no|each|every|which|what)": "lists, shows, is called",
    r"nobody|somebody": "no one, a user; better: the passive or the actor",
    r"travel(?:s|l?ed|l?ing)?": "is sent, is uploaded",
    r"c[ao]mes? back|coming back|br(?:ings?|inging|ought) back": "is downloaded, is restored",
    r"ask(?:s|ed|ing)?": "send a request, query, prompt",
    r"beg[aiu]n(?:s|ning)?": "start",
    r"(?:is|are) gone": "was deleted, has ended",
    r"lies|stands": "is, is stored",
    r"go(?:es|ing)? along|went along": "is included",
    r"(?<!as )well": "leave it out",
    r"as (?:it is|they are)": "unchanged",
}
#: The last commit before the subjects of commits had rules.
FIRST_SUBJECT = "cd80a1eb"
SUBJECT = re.compile(r"[a-z][a-z0-9_.,/ -]*: (?!(?:an?|the|its?|this|that|what|those|each|one)\b)([a-z][a-z'-]*)")
#: Verbs and nouns with the endings of no imperative, which are imperatives.
IMPERATIVES = frozenset({"bring", "embed", "feed", "focus", "need", "ping", "seed", "speed"})
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
_SENTENCE_OF_DOCS = re.compile(r"(?<=[.!?:])\s+")
_LINK = re.compile(r"\]\([^)]*\)")
#: A block of code, and the line below the header of a table.
_FENCED = re.compile(r"(?ms)^ *```.*?^ *```$")
_BELOW_HEADER = re.compile(r"[-:| ]*-[-:| ]*")
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


@cache
def texts() -> tuple[Text, ...]:
    """Return all texts."""
    return tuple(_texts())


def _texts() -> Iterator[Text]:
    for path in _sources():
        yield from _python(path)
    for path in sorted((ROOT / "labextension" / "src").rglob("*.ts*")):
        if ".test." not in path.name and path.name not in {"options.ts", "states.ts"}:
            yield from _typescript(path)
    for path, text in _pages():
        yield from _pieces("docs", path, _CODE.sub("", text))


def _pages() -> Iterator[tuple[Path, str]]:
    """Iterate over the pages of the docs with their text; a notebook has a text for each cell of words."""
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "notebooks").rglob("*.md"))]:
        yield path, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown":
                    yield path, cell.source


def long_sentences() -> Iterator[Finding]:
    """Iterate over the sentences of the docs that are too long. A piece of code counts as a word."""
    for path, text in _pages():
        for piece in re.split(r"(?m)\n\s*\n|\||\n\s*(?:[-*]|\d+\.) |^#.*\n", _CODE.sub("X", _LINK.sub("]", text))):
            for sentence in _SENTENCE_OF_DOCS.split(" ".join(piece.split())):
                length = len(re.findall(r"[\w'-]+", sentence))
                if length > LONGEST_OF_DOCS and path.name != "CHANGELOG.md":
                    rule = f"a sentence of {length} words; at most {LONGEST_OF_DOCS}"
                    yield Finding("docs: sentences", str(path.relative_to(ROOT)), rule, sentence)


def _sources() -> list[Path]:
    """Return the Python files of the package, without the generated file, which repeats the help of options."""
    return sorted(path for path in (ROOT / "lk_jupyter").rglob("*.py") if path.name != "_keywords.py")


def comments() -> Iterator[Text]:
    """Iterate over the comments of all packages. Lines that follow each other are one text."""
    for path in sorted((ROOT / "lk_jupyter").rglob("*.py")):
        yield from _python_comments(path)
    for path in sorted((ROOT / "labextension" / "src").rglob("*.ts*")):
        code = path.read_text(encoding="utf-8")
        for comment in _TS_COMMENT.finditer(code):
            line = code.count("\n", 0, comment.start()) + 1
            yield Text("comments: labextension", f"{path.relative_to(ROOT)}:{line}", comment[0].strip("/* "))


def prose() -> Iterator[Text]:
    """Iterate over the docstrings and comments of all packages."""
    for path in _sources():
        yield from (text for text in _python(path) if text.room.startswith(("docstrings", "help")))
    yield from comments()


def _python_comments(path: Path) -> Iterator[Text]:
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("# noqa", "# type:", "# pragma", "#!")):
            if block and token.start[0] > last + 1:
                yield Text(f"comments: {_package(path)}", f"{path.relative_to(ROOT)}:{last}", " ".join(block))
                block = []
            block.append(token.string.lstrip("#: "))
            last = token.start[0]
    if block:
        yield Text(f"comments: {_package(path)}", f"{path.relative_to(ROOT)}:{last}", " ".join(block))


def _package(path: Path) -> str:
    parts = path.relative_to(ROOT / "lk_jupyter").parts
    return parts[0] if len(parts) > 1 else "lk_jupyter"


def subjects() -> Iterator[Finding]:
    """Iterate over the subjects of commits that break a rule; over none without git or this part of the history."""
    command = ["git", "log", "--no-merges", "--format=%h %s", f"{FIRST_SUBJECT}..HEAD"]
    try:
        log = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return
    for line in log.stdout.splitlines() if log.returncode == 0 else ():
        commit, _, subject = line.partition(" ")
        if problem := subject_problem(subject):
            yield Finding("commits", commit, f"{problem}. Before you merge it: git rebase -i, reword", subject)


def subject_problem(subject: str) -> str:
    """Return what is wrong with the subject of a commit, or nothing."""
    if len(subject) > 72:
        return f"a subject of {len(subject)} characters; at most 72"
    match = SUBJECT.match(subject)
    if not match:
        return "a subject is 'area: imperative', in lower case"
    verb = match[1]
    if verb not in IMPERATIVES and re.search(r"(?:[a-z]{2}ed|ing|[^su]s)$", verb):
        return f"'{verb}' is no imperative"
    return ""


def _hide_value(_: ast.expr) -> str:
    """Return the text in place of an inserted value."""
    return "X"


def _pieces(room: str, path: Path, text: str) -> Iterator[Text]:
    for piece in re.split(r"(?m)\n\s*\n|\|", text):
        yield Text(room, str(path.relative_to(ROOT)), " ".join(piece.split()))


def _python(path: Path, value_text: Callable[[ast.expr], str] = _hide_value) -> Iterator[Text]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    room = _package(path)
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
        elif id(node) not in inner and (text := _literal(node, value_text)) and _PROSE.search(text):
            yield Text(f"messages: {room}", place, text)


def _docstrings(tree: ast.Module) -> dict[int, bool]:
    """Return the docstrings, and for each whether it is the help of a magic."""
    is_help: dict[int, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                is_help[id(first.value)] = isinstance(node, ast.FunctionDef) and any(
                    map(_is_magic, node.decorator_list)
                )
    return is_help


def _is_magic(decorator: ast.expr) -> bool:
    """Return whether a decorator makes a function a magic or one of its verbs."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(function, "id", "") == "magic" or getattr(function, "attr", "") == "verb"


def _literal(node: ast.AST, value_text: Callable[[ast.expr], str]) -> str:
    """Return the text of a literal; ``value_text`` returns the text in place of an inserted value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            value_text(part.value) if isinstance(part, ast.FormattedValue) else str(getattr(part, "value", ""))
            for part in node.values
        )
    return ""


def _value_name(value: ast.expr) -> str:
    """Return the name of an inserted value in braces, or a text that the value can be."""
    if isinstance(value, ast.IfExp):
        texts = [_literal(branch, _value_name) for branch in (value.body, value.orelse)]
        return next(filter(None, texts), "{…}")
    while isinstance(value, (ast.Call, ast.Subscript, ast.BinOp)):
        if isinstance(value, ast.Call):
            value = value.args[0] if value.args else value.func
        else:
            value = value.value if isinstance(value, ast.Subscript) else value.left
    name = getattr(value, "id", "") or getattr(value, "attr", "")
    return f"{{{name.strip('_')}}}" if name else _literal(value, _value_name) or "{…}"


def _typescript(path: Path) -> Iterator[Text]:
    code = _TS_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    for found in _TS.finditer(code):
        text = next(filter(None, found.groups()), "")
        line = code.count("\n", 0, found.start()) + 1
        if re.search(r"[A-Za-z]{2} [A-Za-z]{2}", text):
            yield Text("labels: labextension", f"{path.relative_to(ROOT)}:{line}", re.sub(r"\$\{[^}]*\}", "X", text))


def findings() -> Iterator[Finding]:
    """Iterate over the pieces of text that break a rule."""
    banned = _patterns(BANNED)
    glossary = [(re.compile(rf"(?<![-\w.`%])(?:{words})(?![-\w])", re.IGNORECASE), w) for words, w in GLOSSARY.items()]
    for room, place, text in texts():
        rules = banned if room.startswith("docstrings") else [*banned, *glossary]
        for pattern, better in rules:
            yield from (Finding(room, place, f"'{hit[0]}': {better}", text) for hit in pattern.finditer(text))
        if room.startswith(("messages", "help", "labels")):
            for sentence in _SENTENCE.split(text.partition("Example")[0]):
                if (length := len(re.findall(r"[\w'-]+", sentence))) > LONGEST and not _NO_PROSE.search(sentence):
                    yield Finding(room, place, f"a sentence of {length} words; at most {LONGEST}", sentence)


def limited() -> Iterator[Finding]:
    """Iterate over the findings that have a limit: idioms in all texts, banned words in comments, long sentences."""
    yield from long_sentences()
    for words, pieces in ((IDIOMS, [*texts(), *comments()]), (BANNED, comments())):
        patterns = _patterns(words)
        anything = re.compile("|".join(words), re.IGNORECASE)
        for room, place, text in pieces:
            for pattern, better in patterns if anything.search(text) else ():
                yield from (Finding(room, place, f"'{hit[0]}': {better}", text) for hit in pattern.finditer(text))


def _patterns(words: dict[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(rf"(?<![-\w.`])(?:{pattern})(?![-\w])", re.IGNORECASE), better) for pattern, better in words.items()
    ]


#: Texts of a sample, and the words of the shortest text.
SAMPLE, SHORTEST = 80, 5
#: Code in place of a text: SQL, styles, shell, patterns, and the text of generated files.
_NO_PROSE_IN_SAMPLE = re.compile(
    r"^(?:SELECT|UPDATE|DELETE FROM|INSERT|CREATE|PRAGMA|ALTER|DROP|WITH RECURSIVE|WHERE|EXISTS|COALESCE|CASE WHEN) |"
    r"\bSELECT .* FROM\b|```|^:::|^</?\w+[^>]*>[^<]*$|<(?:style|script|svg|picture)|\{color|toctree|::test_|^\(cd |"
    r"; do |\bORDER BY\b|= \? AND |\{0,\d+\}|^import \w+|__import__|\\[dws.]|\(\?:|const [a-z]|\bdef \w+\(|^---|^:--"
)
#: Files whose texts no user reads: the pictures of components, the generator of the docs, a list of common words.
_NO_TEXTS_OF_USERS = (
    "labextension/src/gallery.tsx",
    "lk_jupyter/_docs.py",
    "lk_jupyter/_types.py",
    "check/recording.py:1",
)
#: A message of which the program inserts the first words.
_WITHOUT_SUBJECT = re.compile(
    r"^(?:is|isn't|are|was|wasn't|were|has|have|needs|holds|contains|refers|calls|takes|shares|changes|can(?:not|'t)|"
    r"does(?:n't)?|didn't|must|stays|could|would|comes|uses)\b"
)


def _lines_of_page(text: str) -> Iterator[str]:
    """Iterate over the texts of a page: paragraphs, headings, elements of lists, rows with their header."""
    header: list[str] = []
    pieces = re.split(r"(?m)\n\s*\n|\n(?=\s*(?:[-*]|\d+\.|#+) |\|)", _FENCED.sub("", text))
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        line = " ".join(piece.split())
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            header = []
            yield line
        elif not header or _BELOW_HEADER.fullmatch(following.strip()):
            header = cells
        elif not re.fullmatch(r"[-: ]+", "".join(cells)):
            yield " | ".join(
                f"{name}: {cell}" if name else cell for name, cell in zip(header, cells, strict=False) if cell
            )


def texts_of_users() -> list[Text]:
    """Return all texts that users read: docs, messages, help and labels, with names in place of inserted values."""
    pieces: list[Text] = []
    for path, text in _pages():
        if path.name != "CHANGELOG.md":
            pieces += [Text("docs", str(path.relative_to(ROOT)), piece) for piece in _lines_of_page(text)]
    for path in _sources():
        pieces += [piece for piece in _python(path, _value_name) if piece.room.startswith(("messages", "help"))]
    pieces += [piece for piece in texts() if piece.room.startswith("labels")]
    lines = (piece._replace(text=" ".join(piece.text.split())) for piece in pieces)
    return sorted(
        {
            Text(room, place, f"{{name}} {text}" if _WITHOUT_SUBJECT.match(text) else text)
            for room, place, text in lines
            if len(text.split()) >= SHORTEST
            and not _NO_PROSE_IN_SAMPLE.search(text)
            and not any(part in place for part in _NO_TEXTS_OF_USERS)
        }
    )


def sample(seed: int) -> list[Text]:
    """Return random texts that users read."""
    return random.Random(seed).sample(texts_of_users(), SAMPLE)


def _print(finding: Finding) -> None:
    print(f"{finding.room}: {finding.place}: {finding.rule}\n    {' '.join(finding.text.split())[:200]}")


def main(*args: str) -> int:
    """Report what breaks the rules; 1 if anything does."""
    if args[:1] == ("--sample",):
        chosen = texts_of_users() if args[1] == "all" else sample(int(args[1]))
        for number, (room, place, text) in enumerate(chosen, 1):
            print(f"{number}. {room}: {place}\n    {text[:600]}")
        return 0
    failures = [*findings(), *subjects()]
    for finding in failures:
        _print(finding)
    idioms = list(limited())
    counts = Counter(finding.room for finding in idioms)
    if args[:1] == ("--lower",):
        limits.lower(GROUP, counts)
    over = limits.exceeded(GROUP, counts, limits.read())
    for finding in idioms:
        if args == ("--list", finding.room):
            _print(finding)
    for room, limit in over.items():
        print(
            f"{GROUP}: {room}: {counts[room]} findings, limit {limit}. Write other words in the lines that you changed."
        )
        print(f"List them: python tests/words.py --list '{room}'")
    return 1 if limits.report(GROUP, counts, "words.py") or over or failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
