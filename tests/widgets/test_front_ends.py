"""What a kernel sends of a widget, by the page that sent the cell: code only to pages without our extension."""

import os
import queue
import time

import pytest
from magics.kernels import running_kernel
from patience import PATIENCE

LIVING = "application/vnd.jupyter.widget-view+json"
SHOW = "from lk_jupyter.options.runs import RunOptions\nfrom lk_jupyter.widgets import form_for\nform_for(RunOptions)"
#: What each page sends with a cell.
LAB = {"cellId": "0b24b7a2-5b1d", "deletedCells": []}
CONSOLE = {"cellId": "0b24b7a2-5b1d"}
VS_CODE = {"cellId": "vscode-notebook-cell:/home/me/a.ipynb#W0sZmlsZQ"}
COLAB = {}
HIDE = """import sys
from lk_jupyter.widgets import _view
_view._make_portable.cache_clear()
sys.modules['anywidget'] = None
"""


@pytest.fixture(scope="module")
def show(cloud, tmp_path_factory):
    """A function that executes a cell for a page; it returns the state of our widget in the page, and its output."""
    home = tmp_path_factory.mktemp("front-ends")
    folders = dict.fromkeys(("HOME", "IPYTHONDIR", "LK_LOG_DIR", "XDG_CONFIG_HOME"), str(home))
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(home / "journal.sqlite")}
    with running_kernel({**os.environ, **folders, **signed_in}, home) as (_, client):
        client.session.metadata = {}

        def show(code, metadata, *, asks=True):
            content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
            content |= {"allow_stdin": asks, "stop_on_error": False}
            request = client.session.msg("execute_request", content, metadata=metadata)
            client.shell_channel.send(request)
            messages = list(read(client, request["header"]["msg_id"]))
            assert not [message["content"] for message in messages if message["msg_type"] == "error"]
            states = [message["content"]["data"]["state"] for message in messages if message["msg_type"] == "comm_open"]
            (output,) = [message["content"] for message in messages if message["msg_type"] == "display_data"]
            return [state for state in states if "notice" in state], output

        yield show


def read(client, request_id):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            message = client.get_iopub_msg(timeout=PATIENCE)
        except queue.Empty:
            break
        if message["parent_header"].get("msg_id") == request_id:
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message
    raise AssertionError("the cell didn't end")


@pytest.mark.parametrize("page", [LAB, CONSOLE], ids=["JupyterLab and Notebook", "a console of JupyterLab"])
def test_a_page_with_our_extension_gets_no_code(show, page):
    (state,), output = show(SHOW, page)
    assert (state["_model_module"], state["_view_module"], state["_view_name"]) == (
        "_lk-jupyter",
        "_lk-jupyter",
        "form",
    )
    assert not {"_esm", "_css"} & set(state)
    assert "export" not in str(state)
    assert (LIVING in output["data"]) == (page is CONSOLE)
    assert ("view" in output["metadata"].get("lk_jupyter", {})) == (page is LAB)


@pytest.mark.parametrize("page", [VS_CODE, COLAB], ids=["VS Code", "Colab"])
def test_a_page_without_our_extension_gets_the_code_by_anywidget_or_a_picture(show, page):
    (state,), output = show(SHOW, page)
    assert (state["_model_module"], state["_view_name"]) == ("anywidget", "AnyView")
    assert "export" in state["_esm"]
    assert ".lk" in state["_css"]
    assert LIVING in output["data"]
    states, output = show(HIDE + SHOW, page)
    assert states == []
    assert LIVING not in output["data"]
    assert '%pip install "anywidget&gt;=0.9.13"' in output["data"]["text/html"]
    show("del sys.modules['anywidget']\n_view._make_portable.cache_clear()\ndisplay(1)", page)


def test_a_program_that_executes_a_notebook_gets_the_picture_alone(show):
    states, output = show(SHOW, COLAB, asks=False)
    assert states == []
    assert LIVING not in output["data"]
    assert "Run the cell again" in output["data"]["text/html"]
    (state,), _ = show(
        f"import ipywidgets\n{SHOW.rpartition(chr(10))[0]}\ndisplay(ipywidgets.VBox([form_for(RunOptions)]))",
        COLAB,
        asks=False,
    )
    assert state["_view_name"] == "form"  # a widget that contains it needs its id
