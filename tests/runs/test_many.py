"""Many runs at once on a real local cloud."""

from concurrent.futures import ThreadPoolExecutor

import psutil
from localcloud.conftest import until

from lk_jupyter.api._events import Finished, Output
from lk_jupyter.session import connect

RUNS = 50
LINES = 40


def followed(run):
    *outputs, last = run.follow()
    assert all(isinstance(event, Output) for event in outputs)
    return "".join(event.content for event in outputs), last


def test_fifty_runs_at_once_are_followed_and_kept_whole_and_leave_nothing(make_cloud, home):
    cloud = make_cloud()
    code = "import sys, time\nfor i in range({lines}): print({run}, i); time.sleep(0.005)"
    with connect(cloud.base_url, cloud.api_key) as session, ThreadPoolExecutor(RUNS) as threads:
        started = list(threads.map(lambda run: session.run(code.format(run=run, lines=LINES)), range(RUNS)))
        results = list(threads.map(followed, started))
        records = list(threads.map(lambda run: session.client.execution.get(run.execution_id), started))
    for run, ((text, last), record) in enumerate(zip(results, records, strict=True)):
        assert text == record.stdout == "".join(f"{run} {line}\n" for line in range(LINES))
        assert (last, record.status) == (Finished(0), "completed")
    assert cloud.http.get("/logs/user", params={"limit": 5000}).json()["total"] == RUNS * LINES
    assert psutil.Process(cloud.process.pid).children(recursive=True) == []
    until(lambda: not list((cloud.data / "runs").iterdir()))
