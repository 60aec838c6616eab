"""How Sphinx makes the site of the guide: ``make site``.

Notebooks are shown with the outputs that they are kept with; nothing is executed. Pages of the
reference have marks, ``<!-- table: NAME -->`` and ``<!-- end -->``, between which stands what the
declarations of lk_jupyter say (``declared.py``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils.nodes import SkipNode
from ipython_pygments_lexers import IPython3Lexer
from latex2mathml.converter import convert
from pygments.lexer import bygroups, using
from pygments.lexers.data import YamlLexer
from pygments.lexers.shell import BashLexer
from pygments.lexers.special import TextLexer
from pygments.token import Keyword, Operator, Text

import lk_jupyter
from lk_jupyter._docs import render

sys.path.insert(0, str(Path(__file__).parent))
from declared import SECTIONS

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator

project = "lk_jupyter"
version = release = lk_jupyter.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = [".*", "**/.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]  # a signature may name what has no page here, as of another project
suppress_warnings = [
    "mystnb.unknown_mime_type",  # live widgets, which leave a picture beside it
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
html_title = "lk_jupyter"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
pygments_style = "tango"
pygments_dark_style = "github-dark"


#: What stands in a cell below the line of a magic.
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


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = render(source[0], SECTIONS)


def _math(translator: HTML5Translator, node: Element) -> None:
    display = "block" if node.tagname == "math_block" else "inline"
    translator.body.append(convert(node.astext().strip("$"), display=display))
    raise SkipNode


def setup(app: Sphinx) -> None:
    """Fill the marked pages, colour our magics, and let browsers draw formulas without a script."""
    app.connect("source-read", _fill)
    app.add_lexer("ipython", CellLexer)
    app.add_lexer("ipython3", CellLexer)
    app.add_html_math_renderer("mathml", (_math, None), (_math, None))
