"""The caller: profile, organization, available machines (``/user``)."""

from __future__ import annotations

from typing import Any

from pydantic import RootModel, model_validator

from lk_jupyter.api._endpoint import DELETE, GET, Group
from lk_jupyter.api._models import Credits, Items, Message, Model, Text, Timestamp


class UserStatus(Model):
    """The caller's profile; every field may be missing."""

    user_id: str | None = None
    org_id: str | None = None
    email: str | None = None
    full_name: str | None = None
    created_at: Timestamp | None = None
    is_active: bool | None = None
    active_api_keys_count: int | None = None
    credit_balance: Credits | None = None
    status: str | None = None


def is_same_user(one: str | None, other: str | None) -> bool:
    """Return whether both ids are of the same user; services write a UUID with or without dashes."""
    return bool(one and other) and _normalize_id(one) == _normalize_id(other)


def _normalize_id(user_id: str | None) -> str:
    return str(user_id).replace("-", "").lower()


class UserOrg(Model):
    """The organization of the credentials."""

    org_id: Text = ""
    slug: str | None = None
    name: str | None = None
    is_personal: bool | None = None
    is_key_scoped: bool | None = None


class UserQuotas(RootModel[dict[str, bool]]):
    """Whether the caller may launch each hardware profile."""

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        """Accept a plain map, a map under a single key, and a row that also contains the user."""
        inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
        rows = inner if isinstance(inner, dict) else value
        return {k: v for k, v in rows.items() if isinstance(v, bool)} if isinstance(rows, dict) else rows


class AvailableHardware(Model):
    """Profiles that the caller may launch; an empty list means no restriction."""

    available_hardware_profiles: Items[str] = []


class User(Group):
    """The caller's account and what it may use.

    Example:
        >>> other.user.status().email == other.email
        True
        >>> other.user.org().slug
        '...'
        >>> other.user.quotas().root["gpu.a100"]
        True
        >>> other.user.available_hardware().available_hardware_profiles
        [...'gpu.a100'...]
        >>> _ = other.user.delete()
    """

    @GET("/user/status", magic="%lk_whoami")
    def status(self) -> UserStatus:
        """Read the caller's profile."""
        ...

    @GET("/user/org", magic="%lk_whoami, %lk_org list, %lk_org use")
    def org(self) -> UserOrg:
        """Return the organization of the credentials."""
        ...

    @DELETE(
        "/user/delete",
        no_magic="This operation has no magic, because Run All could then delete your account permanently.",
    )
    def delete(self) -> Message | None:
        """Delete the caller's account permanently, with all data that isn't shared with other users.

        Raises Forbidden for the only owner of an organization with other members.
        """
        ...

    @GET("/user/quotas", magic="%lk_machines")
    def quotas(self) -> UserQuotas:
        """Read for each hardware profile whether the caller may launch it."""
        ...

    @GET("/user/quotas/available-hardware", magic="%lk_machines")
    def available_hardware(self) -> AvailableHardware:
        """List the hardware profiles that the caller may launch."""
        ...
