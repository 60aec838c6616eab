"""Prints all figures beside their limits: ``make bench``, or with the names of some benches.

A figure over its limit is marked, and no reason to fail: machines differ. A bench that breaks is.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module

BENCHES = (
    "load_ext",
    "shim",
    "cold_start",
    "local_cloud",
    "cells",
    "cloud_load",
    "dask_cluster",
    "first_line",
    "flood",
    "gallery",
    "house",
    "lab",
    "many",
    "plots",
    "s3",
    "serverext",
    "storage",
    "tasks",
    "browser",
    "variables",
    "any_cell",
)


def main(names: tuple[str, ...]) -> None:
    """Run the named benches one after the other and print each figure as it comes."""
    print(f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores")
    for name in names:
        for figure in import_module(name).measure():
            print(figure, flush=True)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or BENCHES)
