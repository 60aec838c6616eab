"""Build a prompt: the text of a cell with variables filled in, and images."""

from __future__ import annotations

import base64
import io
import mimetypes
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lk_jupyter.api.serverless import ChatContentPart, ImageUrl
from lk_jupyter.errors import UsageError

#: ``{{name}}``, or a name with optional attributes, items, conversion and format.
_FIELD = re.compile(
    r"\{(?P<braced>\{[^\W\d][^{}]*\})\}"
    r"|\{(?P<name>[^\W\d]\w*)(?P<path>(?:\.\w+|\[[^\]{}]*\])*)(?P<form>(?:![rsa])?(?::[^{}]*)?)\}"
)

#: Maximum bytes of an image.
MOST_BYTES = 20_000_000

Content = str | list[ChatContentPart]


def fill_template(text: str, values: Mapping[str, Any]) -> str:
    """Return the text with ``{name}`` replaced by the value of that name, and ``{{name}}`` by ``{name}``.

    Braces around anything but a name, as in JSON, stay. Raises UsageError for a name that has no value.
    """
    return _FIELD.sub(lambda match: _fill_placeholder(match, values), text)


def placeholder_names(text: str) -> set[str]:
    """Return the names that a text wants filled in."""
    return {match["name"] for match in _FIELD.finditer(text) if match["name"]}


def _fill_placeholder(match: re.Match[str], values: Mapping[str, Any]) -> str:
    braced, name, path, form = match.groups()
    if braced:
        return str(braced)
    if name not in values:
        close = get_close_matches(name, values, 1)
        hint = f" Did you mean {{{close[0]}}}?" if close else ""
        raise UsageError(
            f"Unknown variable '{name}' in the prompt. Nothing was sent.{hint} To write the braces "
            f"themselves: {{{{{name}}}}}"
        )
    try:
        if not path and not form:
            return _format_value(values[name])
        return f"{{0{path}{form}}}".format(values[name])
    except (AttributeError, LookupError, TypeError, ValueError) as problem:
        raise UsageError(f"Can't fill in {match[0]} in the prompt: {problem}.") from None


def _format_value(value: Any) -> str:
    """Return a value as text; a complete table, since str() would leave out the middle."""
    return value.to_string() if hasattr(value, "to_string") else str(value)


def build_prompt(text: str, images: list[str], values: Mapping[str, Any]) -> Content:
    """Return the prompt. Raises UsageError for an empty prompt, and for an unreadable image."""
    prompt = fill_template(text.strip(), values)
    if not prompt and not images:
        raise UsageError("The cell is empty. Nothing was sent. Write the question below the magic.")
    if not images:
        return prompt
    image_parts = [
        ChatContentPart(type="image_url", image_url=ImageUrl(url=image_address(each, values))) for each in images
    ]
    return [*([ChatContentPart(type="text", text=prompt)] if prompt else []), *image_parts]


def image_address(what: str, values: Mapping[str, Any]) -> str:
    """Return the address of an image: unchanged, or as data of a file or a variable."""
    if what.startswith(("http://", "https://", "data:image/")):
        return what
    if what in values:
        return _build_data_url(_encode_png(what, values[what]), "image/png")
    path = Path(what).expanduser()
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not path.is_file():
        raise UsageError(f"--image: no file and no variable '{what}'. Nothing was sent.")
    if not kind.startswith("image/"):
        raise UsageError(
            f"--image: '{what}' isn't an image. Nothing was sent. Names of images end with .png, .jpg, .gif or .webp."
        )
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(
            f"--image: '{what}' is larger than {MOST_BYTES // 1000000} MB. Nothing was sent. Make it smaller."
        )
    return _build_data_url(path.read_bytes(), kind)


def _encode_png(name: str, value: Any) -> bytes:
    """Return a figure of matplotlib or an image of Pillow as PNG."""
    figure = getattr(value, "figure", value)
    file = io.BytesIO()
    if hasattr(figure, "savefig"):
        figure.savefig(file, format="png", bbox_inches="tight")
    elif hasattr(value, "save") and hasattr(value, "getbbox"):
        value.save(file, format="png")
    else:
        raise UsageError(
            f"--image: the variable '{name}' is a {type(value).__name__}, not a figure or an image. Nothing was sent."
        )
    return file.getvalue()


def _build_data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
