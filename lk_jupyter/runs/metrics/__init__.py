"""Read the metrics of runs."""

from lk_jupyter._lazy import lazily

__getattr__, __dir__ = lazily(
    __name__, {"overlay": "lk_jupyter.runs.metrics.metrics", "read": "lk_jupyter.runs.metrics.metrics"}
)
