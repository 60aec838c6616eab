"""Runs of other kinds than Python, as somebody of another organization tries them."""

from __future__ import annotations

from localcloud.foreign import MARK, own, refused

from lk_jupyter.api.execution import Execution, GpuSelectionRequest

NOWHERE = "localhost:1/nosuchimage:1"
STACK = f"services:\n  app:\n    image: {NOWHERE}\n"

ROWS = {
    Execution.abort_image: refused(lambda mira: {"execution_id": mira.active}),
    Execution.gpu_selection_status: refused(lambda mira: {"execution_id": mira.selection}),
    Execution.start_compose: own(lambda _: {"request": {"compose_file_code": STACK}}),
    Execution.start_gpu_selection: own(lambda _: {"request": {"code": "print(1)"}}),
    Execution.start_image: own(lambda _: {"request": {"docker_image_ref": NOWHERE, "enable_s3_mount": False}}),
}


def made(mira):
    run = mira.execution.start_gpu_selection(GpuSelectionRequest(code=f"print({MARK!r})", file_name="miras.py"))
    list(mira.follow(run.execution_id))
    return {"selection": run.execution_id}
