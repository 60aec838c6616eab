"""Clicks on a widget while a cell runs, sent as JupyterLab sends them: to a subshell of the kernel."""

import pytest
from patience import PATIENCE

WIDGET = """import threading
from lk_jupyter.widgets import Balance
widget, heard = Balance(), threading.Event()
widget.on_msg(lambda *_: heard.set())"""

BUSY = """{before}
print("waits", flush=True)
print(heard.wait({patience}))"""


@pytest.fixture
def subshell(kernel):
    """The id of a subshell of the kernel."""
    session, control = kernel.client.session, kernel.client.control_channel
    info = kernel.client.kernel_info(reply=True, timeout=PATIENCE)["content"]
    if "kernel subshells" not in info.get("supported_features", ()):
        pytest.skip("this ipykernel has no subshells")
    control.send(session.msg("create_subshell_request", {}))
    created = control.get_msg(timeout=PATIENCE)["content"]["subshell_id"]
    yield created
    control.send(session.msg("delete_subshell_request", {"subshell_id": created}))
    assert control.get_msg(timeout=PATIENCE)["content"]["status"] == "ok"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("", id="as with Run All Cells"),
        pytest.param("widget.say('A line has come.')", id="after the cell has changed the widget"),
        pytest.param(
            "thread = threading.Thread(target=widget.say, args=['A line has come.']); thread.start(); thread.join()",
            id="after a thread has changed the widget",
        ),
    ],
)
def test_a_click_is_heard_while_a_cell_runs(kernel, subshell, before):
    kernel.run(WIDGET)
    comm_id = kernel.run("print(widget.comm.comm_id)").text.strip()
    session = kernel.client.session

    def click(cell):
        if not cell.text.startswith("waits"):
            return False
        data = {"method": "custom", "content": {"question": "1", "do": "refresh"}}
        message = session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        message["header"]["subshell_id"] = subshell
        kernel.client.shell_channel.send(message)
        return True

    cell = kernel.run(BUSY.format(before=before, patience=PATIENCE), on=click)
    assert cell.text == "waits\nTrue\n"


def test_a_widget_of_a_run_knows_that_its_kernel_receives_clicks(kernel, subshell):
    kernel.run("from lk_jupyter.widgets._publish import supports_subshells")
    assert kernel.run("print(supports_subshells())").text == "True\n"
