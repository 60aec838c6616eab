"""The wire: one typed method for each operation of the API."""

import sys

#: httpx imports what draws its command line where that is installed: a fifth of the time of the first connection.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
