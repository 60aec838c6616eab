"""``%lk_org``: organizations, who is in them, and what they spend.

Its verbs are declared in the order of these modules; the first one is what ``%lk_org`` alone does.
"""

from __future__ import annotations

from lk_jupyter.magics.orgs import organizations, people, transactions
from lk_jupyter.magics.orgs._verbs import lk_org

__all__ = ["lk_org", "organizations", "people", "transactions"]
