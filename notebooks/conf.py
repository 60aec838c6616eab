"""Sphinx configuration of the documentation site: ``make site``.

Notebooks are shown with their stored outputs; nothing is executed. Pages of the reference have marks,
``<!-- table: NAME -->`` and ``<!-- end -->``; the text between them is made from the declarations of
lk_jupyter (``declared.py``). The site also has an ``llms.txt``, which lists every page with its first sentence.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from html import escape
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils.nodes import SkipNode, image, meta, paragraph
from ipython_pygments_lexers import IPython3Lexer
from latex2mathml.converter import convert
from pygments.lexer import bygroups, using
from pygments.lexers.data import YamlLexer
from pygments.lexers.shell import BashLexer
from pygments.lexers.special import TextLexer
from pygments.token import Keyword, Operator, Text
from sphinx.addnodes import index, toctree
from sphinx.transforms import SphinxTransform

import lk_jupyter
from lk_jupyter._docs import render

sys.path.insert(0, str(Path(__file__).parent))
from declared import SECTIONS
from synonyms import SYNONYMS

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

DISTRIBUTION = "lk-jupyter"
project = "lk_jupyter"
version = release = lk_jupyter.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = [".*", "**/.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", ".*"),  # a signature may name what has no page here, as of another project
    ("py:exc", "TimeoutError|ValueError"),  # Python's own
    ("py:obj", r"typing\.~\w+"),  # a ParamSpec in a signature
]
suppress_warnings = [
    "ref.python",  # two classes of one name in different modules
]

smartquotes = False  # options begin with two dashes

nb_execution_mode = "off"
nb_ipywidgets_js = {}
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"lk_jupyter {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_show_copyright = False
pygments_style = "tango"
pygments_dark_style = "github-dark"


#: The language of a cell below the line of a magic.
LANGUAGES = {"lk_run": IPython3Lexer, "lk_compose": YamlLexer, "lk_docker": BashLexer, "lk_chat": TextLexer}


class CellLexer(IPython3Lexer):  # type: ignore[misc]
    """IPython, with our cell magics."""

    tokens = IPython3Lexer.tokens | {
        "root": [
            *(
                (
                    rf"(?s)(\s*)(%%)({magic})([^\n]*\n)(?!%%)(.*)",
                    bygroups(Text, Operator, Keyword, Text, using(language)),
                )
                for magic, language in LANGUAGES.items()
            ),
            *IPython3Lexer.tokens["root"],
        ]
    }


class Synonyms(SphinxTransform):  # type: ignore[misc]
    """Add the words that people search for to the index and to the search."""

    default_priority = 200

    def apply(self, **_: object) -> None:
        """Add index entries and keywords at the top of the page."""
        phrases = SYNONYMS.get(self.env.docname, ())
        if phrases:
            entries = [("single", phrase, "", "main", None) for phrase in phrases]
            self.document.insert(0, index(entries=entries))
            self.document.insert(0, meta(name="keywords", content=", ".join(phrases)))


class BothThemes(SphinxTransform):  # type: ignore[misc]
    """Show a picture of the light theme, and in its place the one of the dark theme where that is chosen."""

    default_priority = 200

    def apply(self, **_: object) -> None:
        """Add the dark picture next to each light one that is named alone."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for light in list(self.document.findall(image)):
            dark = light["uri"].replace("-light.", "-dark.")
            if light["classes"] or dark == light["uri"] or not (folder / dark).is_file():
                continue
            twin = light.deepcopy()
            twin["uri"], twin["classes"], light["classes"] = dark, ["only-dark"], ["only-light"]
            light.parent.insert(light.parent.index(light) + 1, twin)


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = render(source[0], SECTIONS)


def _add_links(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _tree: Element | None) -> None:
    """Head each page with the name to install, the changelog and the addresses of the project."""
    addresses = [row.split(", ", 1) for row in metadata(DISTRIBUTION).get_all("Project-URL") or ()]
    changelog = f'<a href="{context["pathto"]("changelog")}">Changelog</a>' if "changelog" in app.env.all_docs else ""
    links = [f'<a href="{escape(address)}">{escape(label)}</a>' for label, address in addresses]
    parts = [f"<code>pip install {DISTRIBUTION}</code>", changelog, *links]
    context["theme_announcement"] = " · ".join(filter(None, parts))


def _list_pages(app: Sphinx, failure: Exception | None) -> None:
    """Write ``llms.txt``: each page in the order of the contents, as a link with its first paragraph."""
    if failure or app.builder.format != "html":
        return
    lines = [f"# {project}", "", f"> {inspect.getdoc(lk_jupyter)}".replace("\n", " "), ""]
    for caption, pages in _contents(app):
        links = [f"- [{app.env.titles[page].astext()}]({page}.html): {_summary(app, page)}" for page in pages]
        lines += [f"## {caption}", "", *links, ""]
    Path(app.outdir, "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def _contents(app: Sphinx) -> Iterator[tuple[str, list[str]]]:
    for tree in app.env.get_doctree(app.config.root_doc).findall(toctree):
        yield tree["caption"], [page for _, root in tree["entries"] for page in [root, *_children(app, root)]]


def _children(app: Sphinx, page: str) -> Iterator[str]:
    """Iterate over the pages below a page of the contents."""
    for tree in app.env.get_doctree(page).findall(toctree):
        for _, child in tree["entries"]:
            yield from [child, *_children(app, child)]


def _summary(app: Sphinx, page: str) -> str:
    first = next(app.env.get_doctree(page).findall(paragraph), None)
    return " ".join(first.astext().split()) if first else ""


def _math(translator: HTML5Translator, node: Element) -> None:
    display = "block" if node.tagname == "math_block" else "inline"
    translator.body.append(convert(node.astext().strip("$"), display=display))
    raise SkipNode


def setup(app: Sphinx) -> None:
    """Fill the marked pages, color our magics, draw formulas without a script, and list the pages."""
    app.add_transform(BothThemes)
    app.add_transform(Synonyms)
    app.connect("source-read", _fill)
    app.connect("html-page-context", _add_links)
    app.connect("build-finished", _list_pages)
    app.add_lexer("ipython", CellLexer)
    app.add_lexer("ipython3", CellLexer)
    app.add_html_math_renderer("mathml", (_math, None), (_math, None))
