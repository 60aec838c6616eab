"""``%lk_org``: organizations, their members, and their spending.

The verbs are declared in the order of these modules; ``%lk_org`` alone runs the first verb.
"""

from __future__ import annotations

from lk_jupyter.magics.orgs import organizations, people, transactions
from lk_jupyter.magics.orgs._verbs import lk_org

__all__ = ["lk_org", "organizations", "people", "transactions"]
