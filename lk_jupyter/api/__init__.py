"""The wire: one typed method for each operation of the API."""

import sys

#: httpx imports the libraries of its command line if installed, which takes a fifth of the first connection's time.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
