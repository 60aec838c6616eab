"""A notebook that somebody sent, opened in Lab."""

import nbformat
import pytest
from playwright.sync_api import expect

#: Metadata of outputs as somebody may have written them: IPython evaluates braces in the line of a magic.
ODD = ("{open('RAN', 'w')}", "x\n!touch RAN", "../../x", "$HOME")


@pytest.mark.timeout(900)
def test_a_notebook_that_somebody_sent_runs_nothing_after_two_clicks(running_lab, open_notebook, page):
    cells = [nbformat.v4.new_code_cell("1", outputs=[told(name)]) for name in (*ODD, "3f0c2a9e-5b1d")]
    hints = nbformat.v4.new_output(
        "display_data", {"text/plain": "x"}, metadata={"lk_jupyter_hints": [f"--in {ODD[0]}", ODD[1]]}
    )
    cells.append(nbformat.v4.new_code_cell("%%lk_run\n1", outputs=[hints, told("3f0c2a9e-5b1d")]))
    book = open_notebook("pass")
    path = running_lab.root / "sent" / "notebook.ipynb"
    path.parent.mkdir(exist_ok=True)
    kernel = {"name": "python3", "display_name": "Python 3"}
    kind = {"kernelspec": kernel, "lk_jupyter": {"machine": "cpu {open('RAN', 'w')}"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kind), path)
    running_lab.start_kernel("sent/notebook.ipynb")
    book.open("sent/notebook.ipynb")
    badge = page.locator(".lk-badge:visible")
    expect(badge).to_have_count(2)  # the last two, which have a proper id
    expect(badge.last).to_contain_text("completed")
    expect(page.locator(".lk-hints button")).to_have_count(0)  # IPython would evaluate what they add to the line
    for odd in ODD:
        refused = page.evaluate(ATTACH, odd)
        assert "isn't the id of a run" in refused
    page.evaluate("() => window.jupyterapp.commands.execute('lk:run-on', {})")
    expect(
        page.get_by_role("menuitem").or_(page.get_by_role("menuitemcheckbox")).first
    ).to_be_visible()  # no machine yet
    book.picture("sent")
    page.keyboard.press("Escape")
    assert page.evaluate(SOURCES) == [cell.source for cell in cells]
    assert not list(running_lab.root.rglob("RAN"))


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_machine_of_a_received_notebook_is_used_only_after_its_user_chose_it(running_lab, open_notebook, page):
    book = open_notebook("pass")
    path = running_lab.root / "sent" / "expensive.ipynb"
    path.parent.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext lk_jupyter", "%%lk_run --dry-run\n1")]
    kind = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "lk_jupyter": {"machine": "gpu.b200"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kind), path)
    running_lab.start_kernel("sent/expensive.ipynb")
    book.open("sent/expensive.ipynb")
    for cell in (0, 1):
        book.run(cell)
    expect(book.output(1)).to_contain_text("gpu.l40s")
    page.locator(".jp-NotebookPanel:visible .lk-run-on").click()
    page.locator(".lm-Menu-item").filter(has_text="Choose a machine for the notebook").hover()
    page.locator(".lm-Menu").nth(1).locator(".lm-Menu-item").filter(has_text="A100").click()
    book.run(1)
    expect(book.output(1)).to_contain_text("gpu.a100")
    expect(book.output(1)).to_contain_text("chosen in the toolbar")


SOURCES = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.sharedModel.source)"
ATTACH = """id => {
    const { context, content } = window.jupyterapp.shell.currentWidget;
    const args = { id, notebook: context.path, cellId: content.widgets[0].model.id };
    return window.jupyterapp.commands.execute('lk:attach', args).then(() => 'done', error => error.message);
}"""


def told(execution_id):
    facts = {"execution_id": execution_id, "state": "completed", "machine": "cpu", "seconds": 1, "cost": "0.1"}
    return nbformat.v4.new_output("display_data", {"text/plain": "ended"}, metadata={"lk_jupyter": facts})
