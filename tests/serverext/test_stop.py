"""A page aborts a run, which returns its variables first."""

from __future__ import annotations

import os
from contextlib import closing

from serverext.conftest import running

import lk_jupyter

TRAINING = """
import time
print('training', flush=True)
while True:
    model['step'] += 1
    time.sleep(0.02)
"""


def test_a_run_that_a_page_aborts_returns_its_variables_first(cloud, home):
    variables = {name: os.environ[name] for name in ("HOME", "LK_JOURNAL") if name in os.environ}
    variables |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with (
        closing(lk_jupyter.connect(cloud.base_url, api_key=cloud.api_key)) as session,
        running(home, **variables) as server,
    ):
        run = session.run(TRAINING, gpu="A100", timeout=100, inputs={"model": {"step": 0}}, carry=True)
        with closing(run.follow()) as events:
            while "training" not in getattr(next(events), "content", ""):
                pass
        assert server.send("POST", f"api/workloads/abort/{run.execution_id}").status_code == 200
        assert run.status == "failed"  # as the cloud records code that ended early; the receipt has the reason
        assert run.outputs()["model"]["step"] >= 1
