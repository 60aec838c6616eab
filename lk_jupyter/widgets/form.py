"""Show the options of a magic as a form, generated from the declaration of the magic."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from html import escape
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from traitlets import Dict, List, Unicode, observe

from lk_jupyter import session
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import Options, check, extras, format_line, option_flag
from lk_jupyter.text.problems import describe_problem
from lk_jupyter.views.picture import StaticView
from lk_jupyter.widgets._view import View

#: Number of fields that are visible initially; declarations start with the most frequent options.
OPEN = 5


def form_for(options: type[Options] | Options) -> Form:
    """Return a form for options.

    Args:
        options: A class of options, such as ``RunOptions``, or an instance whose values the form starts with.

    Returns:
        A Form: ``.value`` are the options, ``.line`` their text for the magic, so ``%%lk_run $form`` uses them.

    Example:
        >>> from lk_jupyter.options.runs import RunOptions
        >>> from lk_jupyter.widgets import form_for
        >>> form_for(RunOptions(gpu="A100")).line
        '--gpu A100'
    """
    return Form(options)


class Form(View):
    """A form for options, returned by ``form_for``; a problem appears at its field.

    Example:
        >>> from lk_jupyter.options.runs import RunOptions
        >>> from lk_jupyter.widgets import form_for
        >>> form = form_for(RunOptions)
        >>> form.entries = {"gpu": "A100", "timeout": "600"}
        >>> form.line, form.value.timeout
        ('--gpu A100 --timeout 600', 600)
    """

    component = "form"

    fields: List[Any] = List([], help="fields of the form: name, flag, kind, choices, suggestions, help").tag(sync=True)
    entries: Dict[str, Any] = Dict({}, help="the text of each field, as typed; switches are booleans").tag(sync=True)
    problems: Dict[str, str] = Dict({}, help="error of each field with a wrong value").tag(sync=True)
    line = Unicode("", help="the options as a line of the magic").tag(sync=True)

    def __init__(self, options: type[Options] | Options) -> None:
        self._model = options if isinstance(options, type) else type(options)
        initial = {} if isinstance(options, type) else options.model_dump(exclude_defaults=True)
        super().__init__(fields=[_describe_field(self._model, name) for name in self._model.model_fields])
        self.entries = {name: _format_entry(value) for name, value in initial.items()}

    @property
    def value(self) -> Any:
        """The options that are filled in.

        Raises:
            UsageError: An entry doesn't fit.
        """
        return check(self._model, self._raw_options())

    def __str__(self) -> str:
        return format_line(self.value)

    def load(self) -> None:
        """Fetch the names of machines that may be typed."""
        machines = list(session.current(start=False).machines())
        suggestions = {
            "machines": [machine.hardware_profile for machine in machines],
            "gpus": list(dict.fromkeys(machine.card_name for machine in machines if machine.card)),
        }
        self.fields = [{**field, "suggestions": suggestions.get(field["completer"], [])} for field in self.fields]

    def picture(self) -> StaticView:
        """Show the entered options."""
        text = self.line or "No options set."
        return StaticView(text, f"<p>Options: <code>{escape(text)}</code></p>")

    @observe("entries")
    def _check_entries(self, _: object) -> None:
        self.problems = {}
        try:
            raw = self._raw_options()
            self.line = format_line(self._model(**raw))
        except ValidationError as error:
            self.problems = {str(each["loc"][0]): describe_problem(each) for each in error.errors() if each["loc"]}
        except UsageError as error:
            name, _, problem = str(error).partition(": ")
            self.problems = {name: problem}

    def _raw_options(self) -> dict[str, Any]:
        typed = {name: entry for name, entry in self.entries.items() if entry not in ("", False, None)}
        return {
            name: _parse_entry(name, _input_kind(self._model.model_fields[name]), entry)
            for name, entry in typed.items()
        }


def _describe_field(model: type[Options], name: str) -> dict[str, Any]:
    field = model.model_fields[name]
    extra = extras(field)
    return {
        "name": name,
        "flag": option_flag(model, name),
        "kind": _input_kind(field),
        "choices": _field_choices(field),
        "placeholder": extra.get("metavar") or "",
        "completer": extra.get("completer") or "",
        "suggestions": [],
        "help": field.description or "",
        "open": list(model.model_fields).index(name) < OPEN,
    }


def _input_kind(field: FieldInfo) -> str:
    """Return the kind of input for a field: switch, choice, words, pairs or text."""
    if bool in _field_types(field):
        return "switch"
    if _field_choices(field):
        return "choice"
    return {list: "words", dict: "pairs"}.get(get_origin(field.annotation), "text")  # type: ignore[arg-type]


def _field_types(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) or (field.annotation,)


def _field_choices(field: FieldInfo) -> list[str]:
    allowed = [value for kind in _field_types(field) for value in (get_args(kind) or (kind,)) if isinstance(value, str)]
    return [""] + [value for value in allowed if value != field.default] if allowed else []


def _format_entry(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return shlex.join(f"{key}={text}" for key, text in value.items())
    return shlex.join(map(str, value)) if isinstance(value, list) else str(value)


def _parse_entry(name: str, kind: str, entry: Any) -> Any:
    reader: Callable[[str, Any], Any] | None = {"words": _split_words, "pairs": _split_pairs}.get(kind)
    return reader(name, entry) if reader else entry


def _split_words(name: str, entry: str) -> list[str]:
    try:
        return shlex.split(entry)
    except ValueError:
        raise UsageError(f"{name}: a closing quotation mark is missing.") from None


def _split_pairs(name: str, entry: str) -> dict[str, str]:
    words = _split_words(name, entry)
    if not all("=" in word for word in words):
        raise UsageError(f"{name}: use key=value pairs.")
    return dict(word.split("=", 1) for word in words)
