"""Many runs at once on a real local cloud."""

from concurrent.futures import ThreadPoolExecutor

import psutil

from lk_jupyter.api._events import Finished, Output
from lk_jupyter.session import connect

RUNS = 50
LINES = 40


def followed(run):
    *outputs, last = run.follow()
    assert all(isinstance(event, Output) for event in outputs)
    return "".join(event.content for event in outputs), last


def test_fifty_runs_at_once_are_followed_whole_and_leave_no_process(make_cloud, home):
    cloud = make_cloud()
    code = "import sys, time\nfor i in range({lines}): print({run}, i); time.sleep(0.005)"
    with connect(cloud.base_url, cloud.api_key) as session, ThreadPoolExecutor(RUNS) as threads:
        started = threads.map(lambda run: session.run(code.format(run=run, lines=LINES)), range(RUNS))
        results = list(threads.map(followed, started))
    for run, (text, last) in enumerate(results):
        assert text == "".join(f"{run} {line}\n" for line in range(LINES))
        assert last == Finished(0)
    assert psutil.Process(cloud.process.pid).children(recursive=True) == []
