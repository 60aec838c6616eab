"""A run as one HTML file: complete, without secrets, without anything that a browser would run or load."""

import base64
import re
from html.parser import HTMLParser

import pytest

import lk_jupyter
from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run
from lk_jupyter.views.run_page import render_run

SECRET = "hf_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z"[:34]
CODE = f"""
import base64, os
from IPython.display import HTML, SVG, Image, display

token = {SECRET!r}
for epoch in range(1, 5):
    print(f"epoch {{epoch}}/4 loss: {{1 / epoch:.3f}}")
print("the token is", token, "<script>alert(1)</script>")
display(HTML("<script>alert(2)</script><img src=https://evil.example/x onerror=alert(3)>"))
display(SVG("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(4)</script><text>" + token + "</text></svg>"))
display(Image(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")))
"""


class Elements(HTMLParser):
    """The elements of a page, and the attributes that a browser would act on."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.active = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.active += [
            (tag, name, value)
            for name, value in attributes
            if name.startswith("on") or (name in {"src", "href"} and not value.startswith("data:image/"))
        ]


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as session:
        yield session


def test_a_page_has_figures_code_cost_and_log_but_no_secret_and_no_script(session, tmp_path):
    source = Source(CODE, "cell.py", first_line=1, folder=tmp_path, is_cell=True)
    run = Run.submit(session, prepare(session, source, RunOptions(gpu="A100", name="shared <b>", allow_secrets=True)))
    active = session.run("import time; time.sleep(60)", gpu="A100")
    with pytest.raises(UsageError, match=r"is still active\. Nothing was written\."):
        render_run(session, active.execution_id)
    active.abort()
    run.wait()
    page = render_run(session, run.short_id)
    assert page.startswith("<!doctype html>")
    assert "<h1>shared &lt;b&gt;</h1>" in page
    for words in ("completed", "gpu.a100", "credits", "loss 0.25", "epoch 4/4", "for epoch in range", "<polyline"):
        assert words in page, words
    assert SECRET not in page
    assert "&lt;script&gt;alert(1)" in page
    elements = Elements(page)
    assert elements.active == []
    assert not elements.tags & {"script", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}
    pictures = re.findall(r'src="([^"]*)"', page)
    assert pictures
    assert all(picture.startswith("data:image/") for picture in pictures)
    decoded = b"".join(base64.b64decode(picture.partition(",")[2]) for picture in pictures)
    assert SECRET.encode() not in decoded
    assert "default-src 'none'; img-src data:" in page


def test_a_run_that_prints_nothing_has_a_page(session):
    run = session.run("x = 1", gpu="A100")
    run.wait()
    page = render_run(session, run.execution_id)
    assert "x = 1" in page
    assert "<h2>Log</h2>" not in page
