import html.parser
import json
import pickle
import re
from pathlib import Path

import pytest

from lk_jupyter.views.table import STYLE, Table, frame_table, omitted_line, round_to_five_digits, show_as_grid

TABLE = Table(("Run", "Cost"), [("<script>alert(1)</script>", "12.50"), ("b", "3.00")], note="& more", right={"Cost"})


def test_the_text_twin_lines_its_columns_up():
    assert str(TABLE).splitlines() == [
        "Run                         Cost",
        "-------------------------  -----",
        "<script>alert(1)</script>  12.50",
        "b                           3.00",
        "& more",
    ]


def test_foreign_text_is_text_in_html_too():
    shown = TABLE._repr_mimebundle_()["text/html"]
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "&amp; more" in shown


def test_a_screen_reader_can_tell_what_a_cell_belongs_to():
    scopes = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag == "th":
                scopes.append(dict(attrs)["scope"])

    Reader().feed(TABLE._repr_html_())
    assert scopes == ["col", "col", "row", "row"]


def test_colours_are_those_of_the_theme_where_there_is_one_and_else_of_the_page():
    colours = re.findall(r"(?:color|--lk-\w+): ?([^;}]+)", STYLE)
    assert all(colour.startswith(("var(--jp-", "var(--lk-", "inherit")) for colour in colours)
    assert "prefers-color-scheme" not in STYLE  # a front end may be dark on a machine that prefers light


def test_figures_stand_right_where_styles_are_dropped():
    bare = re.sub(r"<style>.*?</style>| style=\"[^\"]*\"", "", TABLE._repr_html_(), flags=re.DOTALL)
    assert '<td align="right">12.50</td>' in bare
    assert '<th scope="row" align="left">b</th>' in bare


def test_a_list_that_was_cut_says_how_to_see_the_rest():
    assert omitted_line(1234, 50, "this shows all.") == "… and 1,184 more: this shows all."
    assert omitted_line(50, 50, "this shows all.") == ""


def test_a_cell_of_several_lines_is_one_line_of_text():
    assert str(Table(("Name",), [("a\nb",)])).splitlines()[-1] == "a b"


FIGURES = json.loads(Path(__file__).parents[1].joinpath("figures.json").read_text("utf-8"))


@pytest.mark.parametrize(("text", "shown"), FIGURES["significant"])
def test_a_number_of_data_is_written_as_in_the_browser(text, shown):
    assert round_to_five_digits(text) == shown


def test_a_data_frame_looks_like_every_table_and_stays_one():
    pandas = pytest.importorskip("pandas")
    given = {
        "loss": [0.123456789, None],
        "name": ["<b>", "x" * 300],
        "n": [1, 2],
        "at": [pandas.Timestamp("2026-01-02")] * 2,
    }
    frame = show_as_grid(pandas.DataFrame(given).set_index("name"))
    html = frame._repr_html_()
    assert "lk-picture" in html
    assert "&lt;b&gt;" in html
    assert "x" * 199 + "…<" in html
    assert re.search(r'align="right"[^>]*>loss \(1 null\)<', html)
    assert re.search(r'align="right"[^>]*>0.12346<', html)
    assert "<small>null</small>" in html
    assert "2026-01-02 00:00:00" in html
    frame["new"] = 1
    assert ">new<" in frame._repr_html_()
    assert "lk-picture" not in frame[["n"]]._repr_html_()
    assert pickle.loads(pickle.dumps(frame)).equals(frame)
    long = frame_table(pandas.DataFrame({"n": range(70)}))
    assert long.note == "… and 10 more: the DataFrame has all rows."
    spare = frame_table(
        pandas.DataFrame({"run": ["a", "b"], "labels": ["", ""], "cost": [None, float("nan")], "n": [[], [1]]})
    )
    assert (spare.columns, spare.note) == (("run", "n"), "No values: labels, cost")
    assert frame_table(pandas.DataFrame({"run": []})).columns == ("run",)


def test_a_row_that_a_line_is_too_short_for_goes_on_below():
    columns = ("Run", "Cost", "Name", "Id")
    rows = [("3f0c", "0.5", "a name of a run that is long", "3f0c2a9e-5b1d-4c7e-9a52-000000000000")]
    table = Table(columns, rows, right={"Cost"})
    assert table.text(60).splitlines() == [
        "Run   Cost  Name",
        "    Id",
        "----  ----  ----------------------------",
        "3f0c   0.5  a name of a run that is long",
        "    3f0c2a9e-5b1d-4c7e-9a52-000000000000",
    ]
    assert table.text(40).splitlines()[-2:] == [rows[0][0] + "   0.5  " + rows[0][2], "    " + rows[0][3]]
    assert table.text(None).splitlines()[-1].startswith("3f0c   0.5  a name of a run that is long  3f0c2a9e-")


def test_long_text_is_wrapped_in_its_column_between_words_and_parts_of_a_path():
    text = "serverless_inference_completion_tokens of data/of/some/month/of/the/year.parquet"
    shown = Table(("What", "Per"), [(text, "hour")]).text(40)
    assert shown.splitlines()[2:] == [
        "serverless_inference_completion_    hour",
        "tokens of data/of/some/month/of/",
        "the/year.parquet",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(width):
    words = ["alpha", "a few more words", "x" * 12, "", "1.5", "a/path/of/some/file.csv", "a text " * 30]
    rows = [tuple("0.5" if at == 3 else words[(at + row) % len(words)] for at in range(9)) for row in range(9)]
    note = "A note that is longer than most terminals are wide, with words that are short. " * 2
    table = Table([f"column {at}" for at in range(9)], rows, note.strip(), frozenset({"column 3"}), note.strip())
    shown = table.text(width)
    assert max(map(len, shown.splitlines())) <= width
    assert len(re.findall("x{12}", shown)) == str(rows).count("x" * 12)


def test_a_table_without_rows_is_its_head():
    assert str(Table(("Run", "Cost"), [])).splitlines() == ["Run  Cost", "---  ----"]
    assert str(Table((), [], "No columns.")) == "No columns."


def test_only_a_long_text_is_wrapped_so_that_rows_of_short_texts_are_one_line():
    html = Table(("Id", "Name"), [("1", "short"), ("2", "long " * 20)]).html
    assert re.findall(r'class="lk-long">(\w+)', html) == ["long"]
