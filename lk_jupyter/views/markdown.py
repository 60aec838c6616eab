"""Render untrusted Markdown as HTML that executes nothing and loads nothing.

A web page may have influenced a model's answer, and Jupyter trusts the output of a cell. So raw HTML is shown as text,
links lead to http and https only, and an image becomes a link: loading an image would report the contents of the
address to a server. Formulas stay unchanged for the typesetter of the page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lk_jupyter.text.terminal import plain

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

#: Maximum characters of rendered Markdown; a longer text is shown unchanged.
LONGEST = 50_000

#: Lines that a formula may have.
_LINES = 50

_CLOSING = {"$$": "$$", "$": "$", r"\[": r"\]", r"\(": r"\)"}
_OPENING = re.compile(r"\$\$?|\\[\[(]")

#: TeX commands that link, style or define: a formula with such a command is shown as text.
_ACTIVE = re.compile(
    r"\\(?:href|url|html\w*|data|style|class|cssId|unicode|include\w*|require|action\w*|mathtip|texttip|bbox"
    r"|def|let|csname|(?:re)?new(?:command|environment)|DeclareMathOperator|Newextarrow)(?![A-Za-z])"
)

#: Typesetters look for formulas only in elements with the second class.
_NO_FORMULA, _FORMULA = "mathjax_ignore tex2jax_ignore", "mathjax_process tex2jax_process"


def render_markdown(text: str) -> str:
    """Return Markdown as HTML for a page that is trusted."""
    text = plain(text)
    html = _make_parser().render(text) if len(text) <= LONGEST else _render_preformatted(text)
    return f'<div class="lk-markdown {_NO_FORMULA}">{html}</div>'


def _render_preformatted(text: str) -> str:
    return f'<pre style="white-space: pre-wrap">{escape(text)}</pre>'


@cache
def _make_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415 (at first use)

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.validateLink = _is_web_address  # type: ignore[assignment,method-assign] # as its documentation has it
    parser.inline.ruler.before("escape", "formula", _parse_formula)
    parser.block.ruler.before(
        "fence", "formula_block", _parse_formula_block, {"alt": ["paragraph", "blockquote", "list"]}
    )
    for name, rule in {
        "image": _render_image,
        "link_open": _render_link,
        "formula": _render_formula,
        "formula_block": _render_formula,
    }.items():
        parser.add_render_rule(name, rule)
    return parser


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _render_link(renderer: Any, tokens: Sequence[Token], at: int, options: Any, _env: Any) -> str:
    tokens[at].attrSet("target", "_blank")
    tokens[at].attrSet("rel", "noopener noreferrer")
    return str(renderer.renderToken(tokens, at, options, _env))


def _render_image(renderer: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    address = escape(str(tokens[at].attrs["src"]))
    words = escape(renderer.renderInlineAsText(tokens[at].children, options, env)) or address
    return f'<a href="{address}" target="_blank" rel="noopener noreferrer">{words}</a>'


def _render_formula(_renderer: Any, tokens: Sequence[Token], at: int, _options: Any, _env: Any) -> str:
    text = tokens[at].content
    if _ACTIVE.search(text):
        return f"<code>{escape(text)}</code>"
    return f'<span class="{_FORMULA}">{escape(text)}</span>'


def _parse_formula(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 (as the parser calls it)
    """Parse a formula, and keep the text unchanged."""
    opening = _OPENING.match(state.src, state.pos)
    if not opening:
        return False
    sign, start = opening[0], opening.end()
    ends = state.env.setdefault("formulas", {})
    end = state.src.find(_CLOSING[sign], start) if ends.get((state.src, sign), 0) >= 0 else -1
    ends[state.src, sign] = end
    content = state.src[start:end]
    if end < 0 or not content.strip() or (sign == "$" and not _is_formula(content, state.src[end + 1 : end + 2])):
        return False
    if not silent:
        state.push("formula", "", 0).content = sign + content + _CLOSING[sign]
    state.pos = end + len(sign)
    return True


def _is_formula(content: str, after: str) -> bool:
    """Return whether text between two dollars is a formula, not money: a formula has no space at its edges."""
    return not (content[0].isspace() or content[-1].isspace() or after.isdigit() or "\n\n" in content)


def _parse_formula_block(state: StateBlock, first: int, last: int, silent: bool) -> bool:  # noqa: FBT001 (as above)
    """Parse lines that are a formula, whatever the lines start with."""
    line = _read_line(state, first)
    sign = next((sign for sign in ("$$", r"\[") if line.startswith(sign)), None)
    if sign is None:
        return False
    for at in range(first, min(last, first + _LINES)):
        text = _read_line(state, at)
        if (text[2:] if at == first else text).rstrip().endswith(_CLOSING[sign]):
            break
    else:
        return False
    if not silent:
        token = state.push("formula_block", "", 0)
        token.content = "\n".join(_read_line(state, number) for number in range(first, at + 1))
    state.line = at + 1
    return True


def _read_line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]
