"""Every parser of bytes that come from elsewhere: its valid inputs, the product's function, the errors it may raise."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow.parquet  # noqa: F401 (before the fork: each child would import it)
from fuzz import seeds
from fuzz.mutations import damaged, damaged_json, damaged_message
from fuzz.runner import Parser
from httpx_sse import EventSource
from pydantic import TypeAdapter, ValidationError

from lk_jupyter.api import hosted_channel
from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._client import Client
from lk_jupyter.api._events import StreamEvent, complete_stream, reader_for
from lk_jupyter.api._models import Page
from lk_jupyter.api._tokens import expiry, subject
from lk_jupyter.api._tolerant import read as read_answer
from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.storage import FileInfo
from lk_jupyter.check import published, recording
from lk_jupyter.check.findings import Exchange, Report
from lk_jupyter.errors import InvalidResponse, LkError, NoSuchObject, UsageError
from lk_jupyter.inference.batch_answers import parse_outcomes
from lk_jupyter.journal import entry
from lk_jupyter.journal.journal import Journal
from lk_jupyter.protocol.frames import Frame, Splitter, format_frame, read_nonce
from lk_jupyter.protocol.json_limits import JsonTooLarge, load_json
from lk_jupyter.protocol.metadata import read_ports
from lk_jupyter.protocol.offloaded import FOLDER, fetch_content
from lk_jupyter.remote.values import arrays, tables
from lk_jupyter.runs.notebooks import notebook
from lk_jupyter.runs.observers.rules import Evidence, hints
from lk_jupyter.runs.outcome import build_error, read_result
from lk_jupyter.runs.variables.download import read_outputs
from lk_jupyter.serverext.allowlist import NotAllowed, match
from lk_jupyter.storage import _listing, load
from lk_jupyter.storage._plan import file_name
from lk_jupyter.storage._s3_http import S3Response
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.preview import preview_content, preview_object
from lk_jupyter.text.secrets import LineRedactor, find_secrets, redact
from lk_jupyter.text.terminal import TerminalText, plain, visible_part, wrap_lines
from lk_jupyter.views.markdown import render_markdown
from lk_jupyter.vms.ssh import SshEndpoint

#: A folder in memory, where there is one: each input of some parsers is a file.
MEMORY_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None

WHEN = datetime(2026, 1, 1, tzinfo=timezone.utc)
CLIENT = Client("https://api.example.com", "lk_" + "a" * 20)


def text_of(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def parse_frames(content: bytes) -> None:
    text, splitter = text_of(content), Splitter(seeds.NONCE)
    step = 1 + len(text) // 7
    items = [item for at in range(0, len(text), step) for item in splitter.feed(text[at : at + step])]
    for item in [*items, *splitter.end()]:
        if isinstance(item, Frame):
            format_frame(item)


def parse_output(content: bytes) -> None:
    """Read a large output; the log names size and SHA-256 of these bytes."""
    key = f"{FOLDER}/{hashlib.sha256(seeds.NONCE.encode()).hexdigest()[:32]}/x"
    facts = {"key": key, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "kind": "display"}
    fetch_content(lambda _key: content, seeds.NONCE, Frame("stored", facts, "1"))


class NoStorage:
    """A bucket without objects."""

    def get_into(self, key: str, _part: Any, _start: int) -> None:
        raise NoSuchObject(key)


def parse_message(content: bytes) -> str:
    """Read the values of a run that somebody else started."""
    outputs = read_outputs(content, NoStorage(), "a" * 32, ["x"], pickle=False, is_trusted=False)  # type: ignore[arg-type]
    with suppress(NotImplementedError):  # pandas can't show a moment with a time zone outside of the years 1 to 9999
        repr(outputs)
    return " ".join(outputs.missing.values())


def parse_table(content: bytes) -> None:
    table = tables.read(bytearray(content))
    for column in table.columns:
        column.slice(0, 20).to_pylist()


def parse_array(content: bytes) -> None:
    array = arrays.read(bytearray(content))
    str(array)
    array.sum() if array.dtype.kind in "biufc" else array.tobytes()


def previewed(name: str) -> Any:
    """Return the function that previews a file of this name."""

    def parse(content: bytes) -> None:
        preview_content(preview_object(ObjectInfo(name, len(content), WHEN), io.BytesIO(content)))

    return parse


def loaded(name: str) -> Any:
    """Return the function that loads a file of this name."""

    def parse(content: bytes) -> None:
        kind, unpack = load._format_for(name)
        with load._report_broken_file(name, kind), suppress(MemoryError):  # its user wants all of it in memory
            file = io.BytesIO(content)
            repr(kind.read(unpack(file) if unpack else file, load.LoadRequest()))

    return parse


def with_file(name: str, work: Any) -> Any:
    """Return a function that writes bytes into a file of a new folder and lets ``work`` read them."""

    def parse(content: bytes) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lk-fuzz-", dir=MEMORY_FOLDER))
        try:
            (folder / name).write_bytes(content)
            work(folder / name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return parse


def read_journal(path: Path) -> None:
    with suppress(sqlite3.Error):
        entry.read(path, limit=50)
    with suppress(sqlite3.Error, ValueError, RecursionError):
        entry.read_request(path, seeds.RUN)
    journal = Journal(path)
    journal.entries(limit=50)
    journal.find("0")
    journal._database.close()


def read_tar(path: Path) -> None:
    checkpoint = _checkpoint()
    folder = checkpoint.restore(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())
    shutil.rmtree(folder, ignore_errors=True)


def _checkpoint() -> Any:
    """Return the module that resumes a run."""
    from lk_jupyter.remote.script import checkpoint  # noqa: PLC0415

    return checkpoint


def parse_stream(content: bytes) -> None:
    pieces = complete_stream(iter([content[:5000], content[5000:]]), is_output=True)
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(pieces))
    for _ in reader_for(StreamEvent, "host")(EventSource(response).iter_sse()):
        pass


def parse_listing(content: bytes) -> None:
    wire = SimpleNamespace(need=lambda _request: SimpleNamespace(body=content, headers={}))
    _listing.request_page(wire, "", recursive=False, size=1000)  # type: ignore[arg-type]


def parse_error(content: bytes) -> None:
    answer = S3Response(404, {}, content)
    answer.code, answer.message  # noqa: B018


def parse_description(content: bytes) -> None:
    report = Report(CLIENT)
    report.probe = lambda *_arguments, **_options: _probed(report, content)  # type: ignore[method-assign]
    published.check_public_answers(report)


def _probed(report: Report, content: bytes) -> RawAnswer:
    answer = RawAnswer(200, "application/json", content)
    report.exchanges.append(Exchange("GET", "/", 200, answer.json))
    return answer


ANSWERS = [(TypeAdapter(kind), kind) for kind in (ExecutionRecord, list[MachineType], Page[FileInfo])]


def parse_answer(content: bytes) -> None:
    for adapter, kind in ANSWERS:
        with suppress(ValidationError, JsonTooLarge):
            found, _ = read_answer(adapter, kind, content)
            if isinstance(found, ExecutionRecord):
                read_record(found)
    list(parse_outcomes(content))


def read_record(record: ExecutionRecord) -> None:
    read_ports(record.metadata)
    read_nonce(record.metadata)
    with suppress(LkError):
        read_result(record)
    build_error(record)
    hints(Evidence(record=record))


def parse_row(content: bytes) -> None:
    with suppress(ValueError, RecursionError):
        row = load_json(content)
        if isinstance(row, dict):
            entry.parse_entry(row)


def parse_log(content: bytes) -> None:
    text = text_of(content)
    hints(Evidence(log=text))
    record = ExecutionRecord(execution_id=seeds.RUN, status="failed", stderr=text)
    hints(Evidence(record=record))
    build_error(record)


def parse_recording(content: bytes) -> None:
    text = text_of(content)
    bodies: list[Any] = [{"detail": text, "name": text[:50]}, {"message": text}]
    with suppress(ValueError, RecursionError):
        bodies.append(load_json(content))
    report = Report(CLIENT)
    report.exchanges += [Exchange("GET", "/user/status", 200, body) for body in bodies]
    with suppress(UsageError):
        recording.format_recording(report)


def parse_terminal(content: bytes) -> None:
    text, screen = text_of(content), TerminalText()
    for at in range(0, len(text), 1000):
        screen.feed(text[at : at + 1000])
        screen.take()
    screen.end()
    plain(text)
    wrap_lines(visible_part(text[:5000]), 80)


def parse_secrets(content: bytes) -> None:
    text = text_of(content)
    find_secrets(text)
    redact(text)
    LineRedactor().lines(text.splitlines(keepends=True))


def parse_names(content: bytes) -> None:
    text = text_of(content)
    with suppress(NotAllowed):
        match("GET", text)
    with suppress(LkError):
        file_name(text)
    with suppress(InvalidResponse):
        SshEndpoint.of(text)
    subject(text)
    expiry(SimpleNamespace(get_secret_value=lambda: text))  # type: ignore[arg-type]


TEXT = {
    "damage": damaged,
    "words": (b"'", b"\\", b"(", b"[", b"{", b"<", b"Traceback (most recent call last):\n", b"a@", b"0"),
}
JSON = {"damage": damaged_json, "words": (b"[", b'{"a":', b'"', b"1e9", b"\\ud800")}
BYTES = {"damage": damaged}

PARSERS = [
    Parser(
        "frames", seeds.frames, parse_frames, damaged, words=(b"\x1b]7411;", seeds.NONCE.encode(), b";", b"\x07", b"^[")
    ),
    Parser("outputs in the bucket", seeds.outputs, parse_output, damaged, (LkError,)),
    Parser("values", seeds.messages, parse_message, damaged_message),
    Parser("values: Arrow", seeds.tables, parse_table, damaged, (Exception,)),
    Parser("values: npy", seeds.arrays, parse_array, damaged, (Exception,), (b"'O'", b"|V0", b"(", b"-1", b"descr")),
    Parser("preview: Arrow", seeds.arrow_files, previewed("t.arrow"), damaged, waits=True),
    Parser("preview: Parquet", seeds.parquet_files, previewed("t.parquet"), damaged, waits=True),
    Parser("preview: npy", seeds.arrays, previewed("a.npy"), damaged, waits=True),
    Parser("preview: zip", seeds.archives, previewed("a.zip"), damaged, waits=True),
    Parser("preview: notebook", seeds.notebooks, previewed("n.ipynb"), waits=True, **JSON),
    Parser("preview: csv", seeds.texts, previewed("t.csv"), **TEXT),
    Parser("preview: json", seeds.answers, previewed("t.json"), **JSON),
    Parser("preview: gzip", seeds.packed_texts, previewed("t.csv.gz"), damaged, waits=True),
    Parser("preview: xz", seeds.packed_texts, previewed("t.csv.xz"), damaged, waits=True),
    Parser("preview: image", seeds.images, previewed("i.png"), damaged),
    Parser("load: Arrow", seeds.arrow_files, loaded("t.feather"), damaged, (LkError,)),
    Parser("load: Parquet", seeds.parquet_files, loaded("t.parquet"), damaged, (LkError,)),
    Parser("load: npy", seeds.arrays, loaded("a.npy"), damaged, (LkError,)),
    Parser("checkpoint: tar", seeds.tars, with_file("c.tar", read_tar), damaged, (RuntimeError,)),
    Parser("notebook", seeds.notebooks, with_file("n.ipynb", notebook.read), errors=(UsageError,), **JSON),
    Parser(
        "SSE",
        seeds.streams,
        parse_stream,
        damaged,
        (LkError,),
        (b"data:", b"\n\n", b"event:", b"[", b'{"output":{"content":"'),
    ),
    Parser("message of a kernel", seeds.kernel_messages, hosted_channel._parse_message, damaged, hosted_channel.ODD),
    Parser(
        "bucket: list",
        seeds.listings,
        parse_listing,
        damaged,
        (LkError,),
        (b"<Contents>", b"&b;", b"<Size>", b"</", b"<Key>"),
    ),
    Parser("bucket: error", seeds.listings, parse_error, damaged),
    Parser("OpenAPI", seeds.descriptions, parse_description, **JSON),
    Parser("answers, records, batches", seeds.answers, parse_answer, **JSON),
    Parser("journal: database", seeds.journals, with_file("journal.db", read_journal), damaged, waits=True),
    Parser("journal: row", seeds.rows, parse_row, **JSON),
    Parser("hints, tracebacks", seeds.texts, parse_log, **TEXT),
    Parser("recording of a check", seeds.texts, parse_recording, **TEXT),
    Parser("terminal", seeds.texts, parse_terminal, **TEXT),
    Parser("secrets", seeds.texts, parse_secrets, **TEXT),
    Parser("markdown", seeds.texts, lambda content: render_markdown(text_of(content)) and None, **TEXT),
    Parser("ids, paths, addresses, JWT", seeds.texts, parse_names, **TEXT),
]

if importlib.util.find_spec("torch"):
    from lk_jupyter.remote.values import tensors

    PARSERS.append(
        Parser(
            "values: safetensors",
            seeds.tensors,
            lambda content: tensors.read(bytearray(content)) and None,
            damaged,
            (Exception,),
        )
    )
