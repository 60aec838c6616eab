"""distributed's own tests of ``SpecCluster`` on ``LyceumCluster``, from a clone of distributed.

``SpecCluster`` of the tests has its parameters. The kinds of workers in them count as workers on the VM, with their
number of threads. The scheduler is no object of this process, so its workers are looked up in the cluster's facts.
"""

from pathlib import Path

from distributed import utils_test
from distributed.utils_test import cleanup, loop, loop_in_thread  # noqa: F401 (fixtures of the tests)

from lk_jupyter.dask import LyceumCluster

#: Seconds of a test: each test rents a VM.
_SECONDS = 280

utils_test.gen_test.__defaults__ = (_SECONDS, *utils_test.gen_test.__defaults__[1:])
path = Path("distributed/distributed/deploy/tests/test_spec_cluster.py")
source = path.read_text("utf-8").replace("cluster.scheduler.workers", 'cluster.scheduler_info["workers"]')
exec(compile(source, path, "exec"))


class SpecCluster(LyceumCluster):
    """A cluster with as many workers as the tests list."""

    def __init__(self, workers=None, *, scheduler=None, worker=None, loop=None, name=None, **options):  # noqa: F811
        threads = (worker or {}).get("options", {}).get("nthreads")
        super().__init__(len(workers or {}), threads_per_worker=threads, gpu="A100", max_cost=5, **options)
