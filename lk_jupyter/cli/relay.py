"""Drive a relay to its end, when the kernel that started the relay has ended: ``python -m lk_jupyter.cli.relay TOKEN``.

The Jupyter server starts this process. Account and key are the server's, from the settings or the environment.
"""

from __future__ import annotations

import sys

from lk_jupyter.runs.relay import open_relay
from lk_jupyter.session import connect


def main(token: str) -> None:
    """Drive a relay of the account that is signed in, unless another process drives the relay."""
    with connect() as session:
        relay = open_relay(session, token)
        if session.speaks_to(relay.facts.base_url):
            relay.join()


if __name__ == "__main__":
    main(sys.argv[1])
