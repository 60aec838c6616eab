"""Read the numbers that a program prints, such as ``epoch 3/10 loss: 0.31``, as curves, in linear time.

The same parser serves the leaderboard of several runs, the curves of a run, its sparkline and the estimate of its time
left. Values of ``lk_log(loss=0.31)`` and of TensorBoard are added exactly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Numbers with the same name that make a curve, curves of a log, and names that are candidates.
FEWEST_POINTS, MOST_CURVES, _MOST_NAMES = 3, 20, 200

#: Steps of a count from which the rate is estimated.
_MOST_STEPS = 256

#: Characters of a line that are read, and points of a curve, where the parser has no other limit.
_LINE_LENGTH, MOST_POINTS = 4_000, 1_000

_CONTROL = re.compile(r"\x1b\[[0-?]{0,40}[ -/]{0,8}[@-~]")
_LINE_ENDS = re.compile(r"[\n\r\x08]")
_HAS_DIGIT = re.compile(r"\d|nan|inf")

#: The patterns below match text in lower case: ignoring case takes twice the time.
_DIGITS = r"[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[ed][-+]?\d{1,3})?"
_NUMBER = rf"(?:{_DIGITS}|[-+]?inf|nan)"
_UNIT = (
    r"(?:[kmgtp]i?b(?:/s)?|b|bytes?|it/s|s/it|[mun]s|µs|s|secs?|seconds?|mins?|minutes?|h|hours?|days?|"
    r"files?|packages?|items?|rows?|lines?|tests?|ghz|mhz|c|w|v)"
)
_LEADING_WORD = (
    r"(?:train(?:ing)?|val(?:id(?:ation)?)?|test|eval(?:uation)?|dev|avg\.?|average|mean|total|best|running|"
    r"gradient|balanced|log|[a-z]\w{0,30}'s)"
)
#: A name, a separator and a number; ``gap`` is the separator, ``percent`` the sign after the number.
_PAIR = re.compile(
    rf"(?<![\w./@\\-])(?P<name>(?:{_LEADING_WORD}[ ]){{0,2}}[a-z_][\w./@-]{{0,60}})[\"']?"
    rf"(?P<gap>[ \t]{{0,8}}[:=][ \t]{{0,12}}|[ \t]{{0,12}}[|│][ \t]{{0,12}}|[ \t]{{1,8}}(?:is[ \t])?)"
    rf"(?:[\"']|tensor\(|array\(|np\.float\d\d\(|\[)?(?P<number>{_NUMBER})"
    rf"(?P<percent>[ ]?%)?(?:/(?P<divisor>\d{{1,12}})(?![\w/.]))?"
    rf"(?![\w/@%]|:(?!\s)|-\w|\.\w|,\d{{3}}(?!\d)|[ ]{{0,2}}{_UNIT}(?![\w=:]))"
)
#: The count of a training in a line, with the total after a slash; the first of the alternatives in the line counts.
_EPOCH = re.compile(
    rf"(?<![a-z])epochs?[\"']?(?:\(train\))?[ \t:=#\[(]{{0,8}}[\"']?({_DIGITS})(?![\d.]{{0,20}}%)"
    r"(?:[ ]?/[ ]?(\d{1,9}))?"  # the share of a bar such as ``epochs: 25%`` is no epoch
)
_COUNT = re.compile(
    r"(?<![a-z])(?:global[_ ]?step|steps?|iter(?:ation)?s?|batch|round|updates?|num_updates|episode|iterate)[\"']?"
    r"[ \t:=#\[(]{1,8}[\"']?(\d{1,12})(?:[ ]?(?:/|of)[ ]?(?:max_iter:[ ]?)?(\d{1,12}))?(?![\w.])"
)
_FIRST = re.compile(r"[ \t]{0,8}(?:\[[ ]{0,8}(\d{1,9})(?:/(\d{1,9}))?\]|(\d{1,9}):[ \t])")
_FRACTION = re.compile(r"(?<![\d/.:-])(\d{1,9})[ ]?/[ ]{0,6}(\d{1,9})(?![\d/.])")

#: A progress bar of tqdm at the start of a line: ``12%|█ | 1/8 [00:01<00:07, 1.00it/s]``.
_BAR = re.compile(r"[^|\n]{0,80}%\|[^|\n]{0,400}\|[^\[\n]{0,60}\[[^\]\n]{0,200}\]")

#: Names of counts, which are no curves.
_COUNTS = {"epoch", "epochs", "step", "steps", "iter", "iteration", "iterations", "batch", "round", "global_step"}
_COUNTS |= {"it", "update", "num_updates", "episode", "iterate", "num_epochs", "total_epochs", "max_iter", "max_steps"}

#: Parts of names of measures. The strong ones may have whole numbers; the weak ones are words of other logs too.
_STRONG = {"loss", "losses", "nll", "elbo", "acc", "accuracy", "acc1", "acc5", "top1", "top5", "auc", "auroc", "f1"}
_STRONG |= {"ppl", "perplexity", "reward", "rew", "lr", "mse", "rmse", "mae", "logloss", "iou", "miou", "dice", "bleu"}
_STRONG |= {"gnorm", "psnr", "ssim", "fid", "inertia"}
_WEAK = {"err", "error", "score", "precision", "recall", "map", "map50", "r2", "kl", "entropy", "wer", "cer", "norm"}
_WEAK |= {"l1", "l2", "return", "objective", "obj", "fitness", "likelihood"}

#: Parts of names whose numbers are counts, times, sizes, places or versions.
_NOT_A_MEASURE = _COUNTS | {"time", "times", "elapsed", "took", "duration", "seconds", "second", "secs", "sec", "eta"}
_NOT_A_MEASURE |= {"remaining", "size", "memory", "mem", "ram", "cpu", "gpu", "load", "average", "port", "pid"}
_NOT_A_MEASURE |= {"version", "ver", "v", "billed", "balance", "credits", "tax", "fee", "price", "cost", "amount"}
_NOT_A_MEASURE |= {"total", "speed", "ttl", "timeout", "offset", "uptime", "latency", "bytes", "temp", "temperature"}
_NOT_A_MEASURE |= {"freq", "mhz", "ghz", "width", "height", "x", "y", "z", "lat", "lon", "id", "line", "row", "col"}
_NOT_A_MEASURE |= {"column", "index", "count", "num", "n", "date", "day", "year", "month", "hour", "build", "release"}
_NOT_A_MEASURE |= {"python", "from", "to", "at", "in", "on", "of", "real", "user", "sys", "wall", "rate", "usage"}
_NOT_A_MEASURE |= {"used", "free", "disk", "swap", "page", "progress", "percent", "coverage", "rx", "tx", "seed"}
_NOT_A_MEASURE |= {"exit", "code", "status", "weight", "age", "length", "len", "depth", "delay", "interval", "max"}
_NOT_A_MEASURE |= {"min", "avg", "mean", "std", "stddev", "mdev", "rtt", "jitter", "throughput", "qps", "rps"}
_NOT_A_MEASURE |= {"runtime", "power", "fan", "voltage", "battery", "volume", "distance", "level", "ratio", "speedup"}
_NOT_A_MEASURE |= {"scale"}

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PARTS = re.compile(r"[^a-z0-9]+")
_CELLS = re.compile(r"[ \t|│]{2,}|\t|[|│]")
_FIRST_CELL = re.compile(r"[\s|│]*([a-z_]+)(?![^\s|│])")


@dataclass
class Curve:
    """The values of a printed number: ``steps``, ``values`` and ``times``, in seconds after the start of the run."""

    name: str
    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    is_exact: bool = False
    fractions: int = 0  # printed with a decimal point or an exponent
    thinned: int = 1  # each how many points are stored
    _count: int = 0
    _shift: float = 0.0

    def add(self, step: float | None, value: float, time: float, fallback: float | None, most: int | None) -> None:
        """Add a value. The value of a redrawn line replaces the value before; a count that restarts continues."""
        last = self.steps[-1] if self.steps else None
        if step is None:
            step = fallback if fallback is not None and (last is None or fallback > last) else (last or 0) + 1
        elif last is not None:
            if step + self._shift < last:
                self._shift = last
            step += self._shift
        if step == last:
            self.values[-1], self.times[-1] = value, time
            return
        self._count += 1
        if self.thinned > 1 and len(self.steps) > 1 and (self._count - 2) % self.thinned:
            del self.steps[-1], self.values[-1], self.times[-1]  # the last point is always the newest
        self.steps.append(step)
        self.values.append(value)
        self.times.append(time)
        if most is not None and len(self.steps) > most:
            self.thinned *= 2
            for series in (self.steps, self.values, self.times):
                series[:-1] = series[:-1:2]

    def content(self, most: int | None = None) -> dict[str, Any]:
        """Return name, steps and values as JSON, with about ``most`` points; a value that isn't finite is None."""
        each = 1 if most is None else -(-len(self.steps) // max(1, most))
        places = [*range(0, len(self.steps) - 1, each), len(self.steps) - 1] if self.steps else []
        values = [self.values[place] for place in places]
        return {
            "name": self.name,
            "steps": [_round_value(self.steps[place]) for place in places],
            "values": [_round_value(value) if math.isfinite(value) else None for value in values],
        }


class _Count:
    """A count with a total, such as ``3/10``: ``cycles`` is how often the count has started again."""

    def __init__(self, step: int, seconds: float) -> None:
        self.cycles = 0
        self.step = step
        self.points: list[tuple[float, float]] = [(seconds, step)]

    def add(self, step: int, total: int, seconds: float) -> None:
        """Add a step; of many points, every second one is dropped. A line that is drawn again adds no step."""
        if step == self.step:
            return
        self.cycles += step < self.step
        self.step = step
        self.points.append((seconds, self.cycles * total + step))
        if len(self.points) > _MOST_STEPS:
            self.points[1:-1] = self.points[1:-1:2]

    def seconds_for(self, end: float) -> float | None:
        """Return the seconds from the last step to ``end``, at the rate of the last half; None without a rate."""
        now, done = self.points[-1]
        middle = (self.points[0][1] + done) / 2
        start, first = next(point for point in reversed(self.points) if point[1] <= middle or point is self.points[0])
        if not (first < done < end and now > start):
            return None
        return (end - done) * (now - start) / (done - first)


class StepRate:
    """Estimate from the steps in a log, such as ``3/10``, how long the rest takes.

    A count that starts again, such as the batches of each epoch, is a part of the steps of the epochs. The time of a
    step is the mean of the last half of the steps: first steps often take longer.
    """

    def __init__(self) -> None:
        self._counts: dict[int, _Count] = {}
        self._epochs: set[int] = set()  # totals of epochs
        self.last_seconds = 0.0

    def add(self, step: int, total: int, seconds: float, *, is_epoch: bool = False) -> None:
        """Add a step, ``seconds`` after the start."""
        if not 0 < step <= total or total == 1:
            return
        self.last_seconds = seconds
        if total in self._counts:
            self._counts[total].add(step, total, seconds)
        elif len(self._counts) < _MOST_NAMES:
            self._counts[total] = _Count(step, seconds)
        if is_epoch:
            self._epochs.add(total)

    @property
    def share(self) -> float | None:
        """Return the share of the steps that are done; None without steps. Batches of each epoch don't count."""
        total = self._find_single_pass_total()
        return None if total is None else self._counts[total].step / total

    @property
    def rest(self) -> tuple[int, int, float] | None:
        """Return the last step, the number of all steps, and the seconds that the rest takes; None without a rate."""
        outer = next((total for total in self._counts if total in self._epochs), None)
        outer = outer or self._find_single_pass_total()
        if outer is None:
            return None
        inner = self._find_inner_total(outer)
        count, end = (self._counts[inner], inner * outer) if inner else (self._counts[outer], outer)
        seconds = count.seconds_for(end)
        return None if seconds is None else (self._counts[outer].step, outer, seconds)

    def _find_single_pass_total(self) -> int | None:
        """Return the total of the first count that hasn't started again; None without such a count."""
        return next((total for total, count in self._counts.items() if not count.cycles), None)

    def _find_inner_total(self, outer: int) -> int | None:
        """Return the total of the count within an epoch that has the most steps; None without such a count."""
        cycles = self._counts[outer].step - 1
        inner = [
            total
            for total, count in self._counts.items()
            if total != outer and (count.cycles or (outer in self._epochs and cycles == 0)) and count.cycles < outer
        ]
        return max(inner, default=None)


class ScalarParser:
    """Parse a log in chunks of any size; ``curves`` are the numbers that the log repeats.

    ``most_points`` limits the points of a curve: of more, every second is dropped, except for the newest. None is no
    limit. ``rate`` estimates the time left.
    """

    def __init__(self, most_points: int | None = MOST_POINTS) -> None:
        self.rate = StepRate()
        self.revision = 0  # changes with each value
        self._most = most_points
        self._all: dict[str, Curve] = {}
        self._pending = ""
        self._has_gap = False
        self._epoch: float | None = None
        self._first_epoch = 1.0
        self._step: float | None = None
        self._columns: list[str] = []

    @property
    def curves(self) -> list[Curve]:
        """The curves, in the order of their first values; exact ones first if there are too many."""
        curves = [curve for curve in self._all.values() if _is_curve(curve)]
        if len(curves) > MOST_CURVES:
            curves = sorted(curves, key=lambda curve: not curve.is_exact)[:MOST_CURVES]
        return curves

    @property
    def measures(self) -> dict[str, float]:
        """Return name → last value of the curves, and of measures of a training that were printed once or twice."""
        return {
            name: curve.values[-1]
            for name, curve in self._all.items()
            if curve.values and (_is_curve(curve) or (_classify_name(name) == _STRONGLY and curve.fractions))
        }

    def feed(self, text: str, time: float = math.nan) -> None:
        """Read a chunk of a log, ``time`` seconds after the start of the run."""
        *lines, self._pending = _LINE_ENDS.split(self._pending + text)
        self._pending = self._pending[-_LINE_LENGTH:]
        for line in lines:
            self._read_line(line[:_LINE_LENGTH], time)
        for match in _FRACTION.finditer(self._pending):  # a progress bar ends its line late
            if match.end() < len(self._pending):
                self.rate.add(int(match[1]), int(match[2]), time)

    def feed_end(self, text: str, time: float = math.nan) -> None:
        """Read the end of a log after a part that is left out, without the lines that aren't complete."""
        self._pending = ""
        self.feed("".join(_LINE_ENDS.split(text, 1)[1:]), time)

    def skip(self) -> None:
        """Forget the line that isn't complete, as the text after the line is left out.

        Later values without a printed step have no place on a curve any more, so they aren't read.
        """
        self._pending, self._has_gap = "", True

    def end(self, time: float = math.nan) -> None:
        """Read the last line, which may lack its line break."""
        self.feed("\n", time)

    def add(self, values: Mapping[str, float], step: float | None, time: float) -> None:
        """Add exact values of ``lk_log`` or of TensorBoard."""
        for name, value in values.items():
            curve = self._find_or_add_curve(name)
            if curve is not None:
                if not curve.is_exact:
                    self._all[name] = curve = Curve(name, is_exact=True)  # the printed values are rounded
                curve.add(step, value, time, None, self._most)
                self.revision += 1

    def add_points(self, payload: Mapping[str, Any], time: float | None = None) -> None:
        """Add the points of a message of the run; ``time`` replaces their times. Points of another form are ignored."""
        points = payload.get("points")
        for point in points if isinstance(points, list) else ():
            try:
                name, step, value, moment = point
                number = {str(name)[:80]: float(value)}
                self.add(number, float(step), float(moment) if time is None else time)
            except (TypeError, ValueError):
                continue

    def _find_or_add_curve(self, name: str) -> Curve | None:
        curve = self._all.get(name)
        if curve is None and len(self._all) < _MOST_NAMES:
            curve = self._all[name] = Curve(name)
        return curve

    def _read_line(self, line: str, time: float) -> None:
        line = _CONTROL.sub("", line) if "\x1b" in line else line
        lower = _lower_characters(line)
        if not _HAS_DIGIT.search(lower):
            self._read_heading(line, lower)
            return
        pairs = [(pair, line[slice(*pair.span("name"))].strip()) for pair in _PAIR.finditer(lower)]
        kinds = [_classify_name(name) for _, name in pairs]
        ratios = {
            pair.start("number")
            for (pair, _), kind in zip(pairs, kinds, strict=True)
            if kind == _STRONGLY and pair["divisor"]
        }
        step = self._read_step(lower, time, ratios)
        if self._columns and self._read_row(line, time):
            return
        is_training = self._step is not None or _STRONGLY in kinds
        for (pair, name), kind in zip(pairs, kinds, strict=True):
            if kind != _NEVER and (kind != _UNKNOWN or is_training):
                self._read_pair(pair, name, kind, step, time)
        self._read_heading(line, lower)

    def _read_pair(self, match: re.Match[str], name: str, kind: int, step: float | None, time: float) -> None:
        text = match["number"]
        is_fraction = any(sign in text for sign in ".eEdD") and text[-1] != "f"
        if kind == _UNKNOWN and match["percent"]:
            return
        if not match["gap"].strip(" \t").startswith((":", "=")) and (
            kind == _UNKNOWN or (kind == _WEAKLY and not is_fraction)
        ):
            return
        value = _parse_number(text)
        if match["divisor"]:
            if kind != _STRONGLY or not float(match["divisor"]) >= value >= 0:
                return
            value, is_fraction = value / max(1.0, float(match["divisor"])), True
        self._store_value(name, value, step, time, is_fraction=is_fraction)

    def _store_value(self, name: str, value: float, step: float | None, time: float, *, is_fraction: bool) -> None:
        curve = None if self._has_gap and step is None and self._step is None else self._find_or_add_curve(name)
        if curve is not None and not curve.is_exact:
            curve.add(step, value, time, self._step, self._most)
            curve.fractions += is_fraction
            self.revision += 1

    def _read_step(self, line: str, time: float, ratios: set[int]) -> float | None:
        """Return the step of a line; None if the line has no step. ``ratios`` are the places of other fractions."""
        epoch = _EPOCH.search(line) if "epoch" in line else None
        count = _COUNT.search(line) or _FIRST.match(line)
        place = total = None
        bar = _BAR.match(line) if epoch and "%|" in line else None
        bar_end = bar.end() if bar and epoch and bar.end() <= epoch.start() else 0  # a line behind the bar
        for match in _FRACTION.finditer(line) if "/" in line else ():
            if match.start() in ratios:
                continue
            is_epoch = epoch is not None and epoch.start(1) <= match.start(1) < epoch.end()
            self.rate.add(int(match[1]), int(match[2]), time, is_epoch=is_epoch)
            if place is None and not is_epoch and match.start() >= bar_end and int(match[1]) <= int(match[2]) > 1:
                place, total = float(match[1]), float(match[2])
        if epoch:
            if self._epoch is None:
                self._first_epoch = min(1.0, float(int(float(epoch[1])))) if epoch[1].isdigit() else 0.0
            self._epoch = _parse_number(epoch[1])
        if count:
            groups = [group for group in count.groups() if group is not None]
            if len(groups) == 2 and place is None:
                place, total = float(groups[0]), float(groups[1])
            elif place is None:
                place = float(groups[0])
        step = self._combine_counts(place, total, has_epoch=epoch is not None)
        self._step = step if step is not None else self._step
        return step

    def _combine_counts(self, place: float | None, total: float | None, *, has_epoch: bool) -> float | None:
        """Return one count for the epoch and the place within the epoch."""
        if place is None:
            return self._epoch if has_epoch else None
        if total is not None and self._epoch is not None and self._epoch == int(self._epoch):
            return (self._epoch - self._first_epoch) * total + place
        return place

    def _read_heading(self, line: str, lower: str) -> None:
        """Remember the columns of a table that counts epochs or iterations and has a measure."""
        first = _FIRST_CELL.match(lower)
        if not first or first[1] not in _COUNTS:
            return
        cells = [cell for cell in _CELLS.split(line.strip()) if cell.strip()]
        names = [cell.strip() for cell in cells]
        if len(names) < 2:
            names = line.split()
        is_table = (
            2 <= len(names) <= MOST_CURVES
            and names[0].lower() in _COUNTS
            and any(_classify_name(name) == _STRONGLY for name in names[1:])
            and not any(name[0].isdigit() for name in names)
        )
        if is_table:
            self._columns = names

    def _read_row(self, line: str, time: float) -> bool:
        """Read a row of the table whose columns are known; return whether the line is a row."""
        cells = line.replace("|", " ").replace("│", " ").split()
        first = cells[0].partition("/")[0] if cells else ""
        if len(cells) < len(self._columns) or not first.isdigit():
            self._columns = self._columns if not cells else []
            return False
        for name, cell in zip(self._columns[1:], cells[1:], strict=False):
            if _classify_name(name) != _NEVER and re.fullmatch(_NUMBER, cell.lower()):
                self._store_value(name, _parse_number(cell), float(first), time, is_fraction="." in cell)
        return True


def _lower_characters(line: str) -> str:
    """Return a line in lower case, with each character in its place."""
    lower = line.lower()
    if len(lower) != len(line):  # the lower case of a letter such as İ is two characters
        lower = "".join(letter if len(letter) == 1 else " " for letter in map(str.lower, line))
    return lower


def _round_value(value: float) -> float:
    """Return a number with as many digits as a plot shows."""
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.6g}")


_NEVER, _UNKNOWN, _WEAKLY, _STRONGLY = range(4)
_kinds: dict[str, int] = {}


def _classify_name(name: str) -> int:
    """Return whether a name denotes a measure: never, unknown, weakly or strongly."""
    kind = _kinds.get(name)
    if kind is None:
        if len(_kinds) > 10_000:
            _kinds.clear()
        kind = _kinds[name] = _classify_new_name(name)
    return kind


def _classify_new_name(name: str) -> int:
    lower = _CAMEL.sub("_", name).lower()
    parts = [part for part in _PARTS.split(lower) if part]
    if not parts or lower in _COUNTS:
        return _NEVER
    if _STRONG.intersection(parts) or lower in {"learning_rate", "learning rate"} or parts[-2:] == ["learning", "rate"]:
        return _STRONGLY
    if any(part.endswith(("loss", "acc", "accuracy", "reward")) for part in parts):
        return _STRONGLY
    if _WEAK.intersection(parts):
        return _WEAKLY
    return _NEVER if _NOT_A_MEASURE.intersection((parts[0], parts[-1])) else _UNKNOWN


def _is_curve(curve: Curve) -> bool:
    """Return whether a number is repeated often enough, and is no count."""
    if len(curve.values) < FEWEST_POINTS:
        return False
    if curve.is_exact or _classify_name(curve.name) == _STRONGLY:
        return True
    return 2 * curve.fractions >= len(curve.values)


def _parse_number(text: str) -> float:
    try:
        return float(text.lower().replace("d", "e"))
    except ValueError:
        return math.nan


#: Words of measures of which the lowest value is the best.
LOWEST = re.compile(
    r"(?:^|[^a-z])(loss|losses|nll|err|error|perplexity|ppl|mse|rmse|mae|mape|logloss|wer|cer|fid|inertia|time|"
    r"seconds|latency|cost|memory|l1|l2|kl)(?![a-z])|loss$"
)
_VALIDATION = re.compile(r"(?:^|[^a-z])(val|valid|validation|eval|dev|test)(?=$|[^a-z])|^valid_\d")


def is_highest_best(name: str) -> bool:
    """Return whether the highest value of a measure is the best; of a loss, an error or a time, the lowest is."""
    return not LOWEST.search(_CAMEL.sub("_", name).lower())


def choose_score(names: Iterable[str]) -> str | None:
    """Return the name that ranks several runs: a validation measure, else the loss; None without both.

    Of several validation measures, one whose highest value is the best, such as an accuracy, comes first.
    """
    measures = [name for name in names if _classify_name(name) in (_STRONGLY, _WEAKLY) and "lr" not in name.lower()]
    measures = [name for name in measures if "rate" not in name.lower() and "norm" not in name.lower()]
    validation = [name for name in measures if _VALIDATION.search(_CAMEL.sub("_", name).lower())]
    ranked = sorted(validation, key=lambda name: not is_highest_best(name))
    losses = [name for name in measures if "loss" in name.lower()]
    return next(iter([*ranked, *losses, *measures]), None)


#: Points and names of the curves in the header of a run.
_HEADER_POINTS, _HEADER_NAMES = 60, 2


def header_curves(curves: Iterable[Curve]) -> list[dict[str, Any]]:
    """Return curves for the sparklines in the header of a run: the curve of the score first."""
    by_name = {curve.name: curve for curve in curves}
    score = choose_score(by_name)
    names = dict.fromkeys([*([score] if score else []), *by_name])
    return [by_name[name].content(_HEADER_POINTS) for name in list(names)[:_HEADER_NAMES]]
