"""The caller: profile, organization, machines it may use (``/user``)."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel, model_validator

from lk_jupyter.api._endpoint import DELETE, GET, Group
from lk_jupyter.api._models import Message, Model


class UserStatus(Model):
    """The caller's profile; every field may be missing."""

    user_id: str | None = None
    email: str | None = None


class UserOrg(Model):
    """The organization that the credentials act as."""

    org_id: str
    slug: str | None = None
    name: str | None = None
    is_personal: bool
    is_key_scoped: bool


class UserQuotas(RootModel[dict[str, bool]]):
    """Whether the caller may launch each hardware profile."""

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        """Accept the map itself and the map under one wrapper key; servers may send either."""
        inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
        return inner if isinstance(inner, dict) else value


class AvailableHardware(Model):
    """Profiles that the caller may launch; an empty list means that nothing is restricted."""

    available_hardware_profiles: list[str]


class User(Group):
    """The caller's account and what it may use."""

    @GET("/user/status")
    def status(self) -> UserStatus:
        """Read the caller's profile."""
        ...

    @GET("/user/org")
    def org(self) -> UserOrg:
        """Tell which organization the credentials act as."""
        ...

    @DELETE("/user/delete")
    def delete(self) -> Message | None:
        """Delete the caller's account for good, with all that nobody else shares.

        Raises Forbidden for the only owner of an organization that has other members.
        """
        ...

    @GET("/user/quotas")
    def quotas(self) -> UserQuotas:
        """Read the launch permission of each hardware profile."""
        ...

    @GET("/user/quotas/available-hardware")
    def available_hardware(self) -> AvailableHardware:
        """List the hardware profiles that the caller may launch."""
        ...
