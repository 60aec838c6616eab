"""Users of a local cloud, signed in."""

from __future__ import annotations

from uuid import uuid4

import httpx
from localcloud.conftest import PREFIX, Api
from patience import PATIENCE

PASSWORD = "correct horse"


class Person(Api):
    """Plain requests of one user."""

    def __init__(self, cloud, token):
        super().__init__(cloud, token)
        self.others = []

    @classmethod
    def added(cls, cloud, email=None):
        """Add a user and sign in."""
        email = email or f"{uuid4().hex[:12]}@example.com"
        told = cloud.add_user(email, PASSWORD)
        login = f"{cloud.base_url}{PREFIX}/auth/login"
        answer = httpx.post(login, json={"email": email, "password": PASSWORD}, timeout=PATIENCE)
        person = cls(cloud, answer.json()["access_token"])
        person.email, person.id, person.slug = email, told["user_id"], told["org"]
        return person

    def signed_by(self, token):
        """Return the same cloud, asked with another token."""
        other = Person(self.cloud, token)
        self.others.append(other)
        return other

    def acting_as(self, slug):
        """Return this user, acting as an organization."""
        other = self.signed_by(self.token)
        other.http.headers["X-Org-Slug"] = slug
        return other

    def create_org(self, **fields):
        """Make an organization and return its slug."""
        return self.post("/orgs", {"name": "Acme Research", **fields}).json()["slug"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for other in (*self.others, self):
            other.http.close()
