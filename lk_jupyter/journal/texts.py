"""Store long texts of requests once, by hash: every run uploads the same modules.

A request refers to the texts in ``import_files``. The API defines this field as a text; in the journal, the field is an
object with texts and references if some texts are stored here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from lk_jupyter.text import secrets
from lk_jupyter.text.secrets import mask_secrets, redact_values

TABLE = "texts"
COLUMNS = {"digest": "PRIMARY KEY NOT NULL", "text": ""}

#: Minimum characters of a text that is stored in this table rather than in the request.
_LONG = 500
_FILES, _REFERENCE = "import_files", "sha256"

#: The hashes that the requests of a journal refer to; a damaged request refers to none.
REFERENCES = f"""
    SELECT json_extract(file.value, '$.{_REFERENCE}')
    FROM (SELECT CASE WHEN json_valid(request) THEN request ELSE '{{}}' END AS request FROM runs) AS run,
         json_each(CASE WHEN json_type(run.request, '$.{_FILES}') = 'object'
                        THEN json_extract(run.request, '$.{_FILES}') ELSE '{{}}' END) AS file
    WHERE file.type = 'object' AND json_extract(file.value, '$.{_REFERENCE}') IS NOT NULL
"""  # noqa: S608 (names of ours)


def redact_request(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request without secrets. Each file is searched separately: long files of ours are searched once."""
    files = _parse_files(request.get(_FILES))
    if not files:
        return dict(redact_values(request, mask_secrets))
    clean = {mask_secrets(name): _mask_file(text, secrets.in_use) for name, text in files.items()}
    return {**redact_values(remove_files(request), mask_secrets), _FILES: json.dumps(clean)}


@lru_cache(maxsize=32)
def _mask_file(text: str, _in_use: tuple[str, ...]) -> str:
    return mask_secrets(text)


def split_request(request: str) -> tuple[str, dict[str, str]]:
    """Return the JSON of a request with references in place of long texts, and these texts by their hashes."""
    fields = json.loads(request)
    files = _parse_files(fields.get(_FILES)) if isinstance(fields, dict) else None
    if not files:
        return request, {}
    texts: dict[str, str] = {}
    for name, text in files.items():
        if len(text) < _LONG:
            continue
        with suppress(UnicodeEncodeError):  # SQLite stores no lone surrogates, JSON does
            digest = hashlib.sha256(text.encode()).hexdigest()
            texts[digest], files[name] = text, {_REFERENCE: digest}
    return (json.dumps({**fields, _FILES: files}), texts) if texts else (request, {})


def _parse_files(import_files: Any) -> dict[str, Any] | None:
    """Return the files of a request; None if the original text can't be restored exactly from the files."""
    try:
        files = json.loads(import_files)
    except (TypeError, ValueError):
        return None
    is_plain = isinstance(files, dict) and all(isinstance(text, str) for text in files.values())
    return files if is_plain and json.dumps(files) == import_files else None


def references_in(request: Mapping[str, Any]) -> set[str]:
    """Return the hashes that a request refers to."""
    files = request.get(_FILES)
    values = files.values() if isinstance(files, dict) else ()
    return {str(value.get(_REFERENCE)) for value in values if isinstance(value, dict)}


def join_request(request: dict[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return a request with its files, as sent; an empty request if a text is missing."""
    files = request.get(_FILES)
    if not isinstance(files, dict):
        return request
    if not references_in(request) <= texts.keys():
        return {}
    complete = {name: texts[text[_REFERENCE]] if isinstance(text, dict) else text for name, text in files.items()}
    return {**request, _FILES: json.dumps(complete)}


def remove_files(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request without files."""
    return {name: value for name, value in request.items() if name != _FILES}
