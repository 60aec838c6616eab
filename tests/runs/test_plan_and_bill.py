"""The plan's maximum is never below the bill, also of a run that is billed until its process has ended."""

import os
import random
from concurrent.futures import ThreadPoolExecutor

from lk_jupyter.code.source import Source
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run

GPUS = ("L40S", "A100", "H100", "any")
#: By night, ``LK_EXAMPLES=1000`` tries as many runs.
COUNT = int(os.environ.get("LK_EXAMPLES", "8"))


def bill_and_maximum(session, seed):
    """Run code that ends before, at or after its time limit; return its bill and the maximum of its plan."""
    draw = random.Random(seed)
    code = draw.choice(["pass", "1/0", f"import time; time.sleep({draw.choice([0.1, 0.9, 1.0, 1.1, 5])})"])
    limits = {"timeout": draw.choice([1, 2])} | draw.choice([{}, {"max_cost": "0.002"}])
    bundle = prepare(session, Source(code), RunOptions(gpu=draw.choice(GPUS), **limits))
    run = Run.submit(session, bundle, warn=False)
    run.wait()
    return run.cost, bundle.max_cost if bundle.cost_binds else bundle.worst_case


def test_a_bill_is_never_above_the_maximum_of_the_plan(session):
    with ThreadPoolExecutor(8) as threads:
        pairs = list(threads.map(lambda seed: bill_and_maximum(session, seed), range(COUNT)))
    above = [(bill, most) for bill, most in pairs if bill is None or bill > most]
    print(f"{len(pairs) - len(above)} of {len(pairs)} bills are at most the plan's maximum")
    assert above == []
