"""Steps of the tests of runs on VMs."""

import time

from conftest import RunningCloud
from patience import PATIENCE

from lk_jupyter.vms import hosted


def cloud_with_faults(folder, clock_speed):
    """Yield a cloud without H200 that fails as ordered, and stop it."""
    options = ("--clock-speed", str(clock_speed), "--faults", "--credits", "1000", "--no-capacity", "h200")
    running = RunningCloud(folder, *options)
    yield running
    running.stop()


def living(vms):
    return [each for each in vms.client.vms.list() if each.status != "terminated"]


def active_keys(vms):
    return [key for key in vms.client.auth.list_api_keys() if key.key_name.startswith("lk-run-") and key.is_active]


def until(condition):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def start(session, code, **options):
    return session.run(code, **{"on": "vm", "gpu": "A100", "max_cost": 5, "timeout": 7200, **options})


def text_of(events):
    return "".join(event.content for event in events if hasattr(event, "content"))


def facts_of(run):
    return hosted.read_facts(run.execution_id.removeprefix("vm-"))
