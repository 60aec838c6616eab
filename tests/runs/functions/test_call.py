"""lk_jupyter.runs.functions.call: what travels with a function."""

from pathlib import Path

import patience

from lk_jupyter.runs.functions.call import FunctionCall


def test_local_modules_travel_with_a_function_that_needs_them_and_no_others():
    folder = Path(patience.__file__).parent
    assert FunctionCall.pack(patience.cpu_seconds, [], folder).modules == {"patience"}
    assert FunctionCall.pack(len, [], folder).modules == frozenset()
