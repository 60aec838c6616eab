"""Run damaged inputs through a parser, in child processes that have little memory and time."""

from __future__ import annotations

import json
import mmap
import os
import re
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

#: Limits of one input: bytes above what the process had before, and seconds.
MEMORY, SECONDS = 300_000_000, 5.0

#: Seconds that a batch takes about, and most inputs in it.
_BATCH_SECONDS, _MOST = 3.0, 400

#: What an answer says when the memory was not enough, and the parser took that for a fault of the input.
_FULL = re.compile(r"malloc|realloc|MemoryError|[Oo]ut of memory|not fit into memory|[Uu]nable to allocate|bad_alloc")


_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@dataclass(frozen=True)
class Parser:
    """A parser of foreign bytes: valid inputs, the product's function, and the errors that it may raise."""

    name: str
    seeds: Callable[[], list[bytes]]
    parse: Callable[[bytes], Any]
    damage: Callable[[Random, bytes, list[bytes], tuple[bytes, ...]], bytes]
    errors: tuple[type[BaseException], ...] = ()
    words: tuple[bytes, ...] = ()
    waits: bool = False  # for another process: its own CPU time says little, and a busy machine makes it slower


@dataclass
class Totals:
    """The results of one parser."""

    inputs: int = 0
    memory: int = 0
    slowest: float = 0.0
    spent: float = 0.0
    failures: dict[str, list[str]] = field(default_factory=dict)  # fault → the files of its inputs

    def add(self, other: dict[str, Any]) -> None:
        self.inputs += other["inputs"]
        self.memory = max(self.memory, other["memory"])
        self.slowest = max(self.slowest, other["slowest"])
        self.spent += other["spent"]
        for fault, paths in other["failures"].items():
            self.failures.setdefault(fault, []).extend(paths)

    @property
    def count(self) -> int:
        """The number of inputs that failed."""
        return sum(map(len, self.failures.values()))


def input_of(parser: Parser, seeds: list[bytes], seed: int, number: int) -> bytes:
    """Return the damaged input of this number; the first are the valid ones."""
    if number < len(seeds):
        return seeds[number]
    choose = Random(f"{parser.name} {seed} {number}")
    return parser.damage(choose, choose.choice(seeds), seeds, parser.words)


def seeds_of(parser: Parser) -> list[bytes]:
    """Return the valid inputs; made in a child, as libraries that have started threads can't be forked."""
    seeds: list[bytes] = json.loads(_in_child(lambda: [seed.decode("latin-1") for seed in parser.seeds()])[1])
    return [seed.encode("latin-1") for seed in seeds]  # type: ignore[attr-defined]


def run_batch(parser: Parser, seeds: list[bytes], seed: int, numbers: range, folder: Path) -> dict[str, Any]:
    """Run inputs in a child, and in another one from the input after one at which a child ended."""
    total = {"inputs": 0, "memory": 0, "slowest": 0.0, "spent": 0.0, "failures": {}}
    at = mmap.mmap(-1, 8)
    start, end, began = numbers.start, numbers.stop, time.monotonic()
    while start < end:
        at[:8] = struct.pack("q", start)
        status, text = _in_child(lambda first=start: _run(parser, seeds, seed, range(first, end), at))
        if text:
            part = json.loads(text)
        else:  # the child was ended by the input it was at
            number = struct.unpack("q", at[:8])[0]
            part = {"inputs": number - start + 1, "memory": 0, "slowest": 0.0, "faults": {str(number): _cause(status)}}
        total["inputs"] += part["inputs"]
        total["memory"] = max(total["memory"], part["memory"])
        total["slowest"] = max(total["slowest"], part["slowest"])
        for number, fault in part["faults"].items():
            total["failures"].setdefault(fault, []).append(_saved(parser, seeds, seed, int(number), folder))
        start += part["inputs"]
    total["spent"] = time.monotonic() - began
    return total


def _saved(parser: Parser, seeds: list[bytes], seed: int, number: int, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^a-z]+', '-', parser.name.lower())}-{seed}-{number}"
    path.write_bytes(input_of(parser, seeds, seed, number))
    return str(path)


def _cause(status: int) -> str:
    if os.WIFEXITED(status):
        return f"exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    limits = {
        signal.SIGPROF: f"more than {SECONDS:.0f} s of CPU time",
        signal.SIGALRM: f"more than {8 * SECONDS:.0f} s",
    }
    return limits.get(number) or f"crash: {signal.Signals(number).name}"


def _in_child(work: Callable[[], Any]) -> tuple[int, bytes]:
    """Run a function in a child process. Return how the child ended, and the function's result as JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reader)
            text = json.dumps(work()).encode()
            with os.fdopen(writer, "wb") as file:
                file.write(text)
            code = 0
        except BaseException:  # noqa: BLE001 (a fault of the harness, or a seed that isn't valid)
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        text = file.read()
    return os.waitpid(child, 0)[1], text


def _run(parser: Parser, seeds: list[bytes], seed: int, numbers: range, at: mmap.mmap) -> dict[str, Any]:
    """Parse inputs and measure each one. Leave the rest to the next child after a fault or some time."""
    _silence()
    if parser.waits:
        parser.parse(seeds[0])  # starts the other process
    base, result = _status("VmRSS"), {"inputs": 0, "memory": 0, "slowest": 0.0, "faults": {}}
    until = time.monotonic() + _BATCH_SECONDS
    for number in numbers:
        at[:8] = struct.pack("q", number)
        content = input_of(parser, seeds, seed, number)
        _limit_memory()
        fault, seconds = _measured(parser, content)
        resource.setrlimit(resource.RLIMIT_DATA, _UNLIMITED)
        memory = max(0, _status("VmHWM") - base)
        if memory > MEMORY:
            fault = fault or f"{memory / 1e6:.0f} MB"
        result["inputs"] += 1
        result["memory"], result["slowest"] = max(result["memory"], memory), max(result["slowest"], seconds)
        if fault:
            result["faults"][number] = fault
        if fault or time.monotonic() > until:
            break
    return result


def _measured(parser: Parser, content: bytes) -> tuple[str, float]:
    clock = time.perf_counter if parser.waits else time.process_time
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 8 * SECONDS)  # other programs use the processors too
    began, fault = clock(), ""
    try:
        answer = parser.parse(content)
        if isinstance(answer, str) and (found := _FULL.search(answer)):
            fault = f"needs more than {MEMORY / 1e6:.0f} MB: {found[0]}"
    except parser.errors as error:
        if _FULL.search(f"{type(error).__name__} {error}"):
            fault = f"needs more than {MEMORY / 1e6:.0f} MB: {type(error).__name__}"
    except BaseException as error:  # noqa: BLE001 (each is a fault)
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        fault = f"{type(error).__name__} at {place}"
    seconds = clock() - began
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if seconds > (2 * SECONDS if parser.waits else SECONDS) and not fault:
        fault = f"{seconds:.1f} s"
    return fault, seconds


def _silence() -> None:
    """Keep the words of a library that aborts out of the table, and core files out of the folder."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _limit_memory() -> None:
    """Limit what a parser adds to the data of this process, and measure the peak from now on.

    An input may need more while it is made.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + MEMORY + 50_000_000, resource.RLIM_INFINITY))
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB".encode(), Path("/proc/self/status").read_bytes())
    return int(found[1]) * 1024 if found else 0


def fuzz(
    parsers: list[Parser], seconds: float, seed: int, folder: Path, most: int = sys.maxsize
) -> dict[str, dict[str, Any]]:
    """Run batches of the parsers in turn, the one with the least time so far next, and return the totals."""
    seeds = {parser.name: seeds_of(parser) for parser in parsers}
    totals = {parser.name: Totals() for parser in parsers}
    until = time.monotonic() + seconds
    waiting = list(parsers)
    while waiting and time.monotonic() < until:
        parser = min(waiting, key=lambda each: totals[each.name].spent)
        total = totals[parser.name]
        numbers = range(total.inputs, min(total.inputs + _MOST, most))
        total.add(run_batch(parser, seeds[parser.name], seed, numbers, folder))
        if total.inputs >= most or total.count >= 300:
            waiting.remove(parser)
    return {name: vars(total) for name, total in totals.items()}


def table_of(totals: dict[str, Totals]) -> str:
    """Return the results as text: one row for each parser, then each failure."""
    lines = [f"{'parser':<28} {'inputs':>9} {'failures':>8} {'memory':>10} {'slowest':>8}"]
    for name, total in totals.items():
        count = total.count
        lines.append(f"{name:<28} {total.inputs:>9,} {count:>8} {total.memory / 1e6:>7.1f} MB {total.slowest:>6.2f} s")
    inputs, count = (sum(getattr(total, name) for total in totals.values()) for name in ("inputs", "count"))
    memory, slowest = (max(getattr(total, name) for total in totals.values()) for name in ("memory", "slowest"))
    lines.append(f"{'all':<28} {inputs:>9,} {count:>8} {memory / 1e6:>7.1f} MB {slowest:>6.2f} s")
    for name, total in totals.items():
        lines += [f"{name}: {len(paths)} x {fault}, such as {paths[0]}" for fault, paths in total.failures.items()]
    return "\n".join(lines)
