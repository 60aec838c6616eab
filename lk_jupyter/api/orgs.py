"""Organizations: members, invitations, keys and the ledger (``/orgs``)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from lk_jupyter.api._endpoint import DELETE, GET, PATCH, POST, Group
from lk_jupyter.api._models import (
    DecimalString,
    Id,
    Items,
    Listing,
    Model,
    Page,
    State,
    Text,
    Timestamp,
    unless_null,
)
from lk_jupyter.api.states import UNKNOWN


def _check_email_address(text: str) -> str:
    """Refuse a text that can't be an e-mail address."""
    name, _, host = text.rpartition("@")
    if not name or not host:
        raise ValueError("give an e-mail address, such as name@example.com")
    return text


Email = Annotated[str, Field(json_schema_extra={"format": "email"}), AfterValidator(_check_email_address)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Slug = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")]

Role = Literal["owner", "admin", "member"]


class OrgBillingDetails(Model):
    """Name, address and tax number of an organization for invoices."""

    billing_company_name: str | None = None
    billing_address_line1: str | None = None
    billing_address_line2: str | None = None
    billing_city: str | None = None
    billing_state: str | None = None
    billing_postal_code: str | None = None
    billing_country: str | None = None
    billing_tax_id: str | None = None
    billing_tax_id_type: str | None = None


class Org(Model):
    """An organization; ``id`` stays if the slug changes."""

    slug: str
    name: Text = ""
    id: Annotated[str, unless_null(""), Field(coerce_numbers_to_str=True)] = ""
    created_at: Timestamp | None = None
    billing_email: str | None = None
    billing_details: OrgBillingDetails | None = None


class MyOrg(Org):
    """An organization of the caller, with the role there: ``owner``, ``admin`` or ``member``."""

    role: Text = ""
    is_default: bool | None = None


class OrgCreate(Model):
    """An organization to create; without a slug the server chooses a slug."""

    name: Name
    slug: Slug | None = None
    billing_email: Email | None = None


class OrgUpdate(Model):
    """Changes of an organization; omitted fields stay."""

    name: Name | None = None
    slug: Slug | None = None
    billing_email: Email | None = None
    billing_company_name: Annotated[str, Field(max_length=255)] | None = None
    billing_address_line1: Annotated[str, Field(max_length=255)] | None = None
    billing_address_line2: Annotated[str, Field(max_length=255)] | None = None
    billing_city: Annotated[str, Field(max_length=128)] | None = None
    billing_state: Annotated[str, Field(max_length=128)] | None = None
    billing_postal_code: Annotated[str, Field(max_length=32)] | None = None
    billing_country: Annotated[str, Field(max_length=2)] | None = None
    billing_tax_id: Annotated[str, Field(max_length=64)] | None = None
    billing_tax_id_type: Annotated[str, Field(max_length=32)] | None = None


class OrgMember(Model):
    """A member; ``created_at`` is the time of joining."""

    user_id: Id
    email: str | None = None
    role: Text = ""
    created_at: Timestamp | None = None


class OrgMemberAdd(Model):
    """A user to add, as ``owner``, ``admin`` or ``member``."""

    email: Email
    role: Role = Field(json_schema_extra={"default": "member"})


class OrgMemberAddResult(Model):
    """``added`` if the e-mail address has an account; otherwise an invitation was sent."""

    status: State = UNKNOWN


class OrgMemberRoleUpdate(Model):
    """The new role: ``owner``, ``admin`` or ``member``."""

    role: Role


class OrgApiKey(Model):
    """A key of an organization without its secret; ``prefix`` is the start of the secret."""

    id: Id
    org_id: Text = ""
    name: Text = ""
    prefix: Text = ""
    is_active: bool | None = None
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    last_used_at: Timestamp | None = None


class OrgApiKeyCreate(Model):
    """A key to create; without ``expires_at`` the key never expires."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    expires_at: Timestamp | None = None


class OrgApiKeyCreated(Model):
    """A key of an organization with its secret, which is shown only once."""

    plaintext_key: str = Field(repr=False)
    id: Text = ""
    org_id: Text = ""
    name: Text = ""
    prefix: Text = ""
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None


class OrgInvite(Model):
    """A pending invitation of an organization."""

    id: Id
    email: Text = ""
    role: Text = ""
    created_at: Timestamp | None = None


class OrgBalance(Model):
    """The credits that an organization can still spend."""

    balance: DecimalString
    org_id: Text = ""
    account_suspended: Annotated[bool, unless_null(default=False)] = False


class OrgTransaction(Model):
    """An entry of an organization's ledger: a credit was granted, a debit was spent."""

    id: Id
    kind: Text = ""
    amount: DecimalString | None = None
    created_at: Timestamp | None = None
    metadata: dict[str, Any] | None = Field(None, description="Cause of the entry; the fields depend on the source.")


class OrgTransactionList(Listing[OrgTransaction]):
    """Entries, newest first."""

    _key = "transactions"
    transactions: Items[OrgTransaction]


class OrgTransactionAggregate(Model):
    """The debits with a common value."""

    group_by_value: Id
    count: int | None = None
    total_amount: DecimalString | None = None
    first_created_at: Timestamp | None = None
    last_created_at: Timestamp | None = None


class OrgTransactionAggregates(Listing[OrgTransactionAggregate]):
    """Debits of a category, summed up by value."""

    _key = "aggregates"
    category: Text = ""
    aggregates: Items[OrgTransactionAggregate]


class Orgs(Group):
    """Organizations, their members, invitations, keys and ledger.

    Members may read, admins manage members and keys, owners everything; what the caller's role
    does not allow raises Forbidden, and so does an organization that the caller is no member of.

    Example:
        >>> from lk_jupyter.api.orgs import OrgApiKeyCreate, OrgCreate, OrgMemberAdd, OrgMemberRoleUpdate, OrgUpdate
        >>> slug = client.orgs.create(OrgCreate(name="Team")).slug
        >>> slug in {org.slug for org in client.orgs.list()}
        True
        >>> client.orgs.update(slug, OrgUpdate(name="Team 2")).name == client.orgs.get(slug).name
        True

        >>> # Members and invitations
        >>> client.orgs.add_member(slug, OrgMemberAdd(email=other.email, role="member")).status
        'added'
        >>> client.orgs.set_role(slug, other.id, OrgMemberRoleUpdate(role="admin")).role
        'admin'
        >>> len(client.orgs.list_members(slug))
        2
        >>> client.orgs.remove_member(slug, other.id)
        >>> client.orgs.add_member(slug, OrgMemberAdd(email="new@example.com", role="member")).status
        'invited'
        >>> [invite] = client.orgs.list_invites(slug)
        >>> client.orgs.revoke_invite(slug, invite.id)

        >>> # Keys that act as the organization
        >>> key = client.orgs.create_api_key(slug, OrgApiKeyCreate(name="ci"))
        >>> client.orgs.revoke_api_key(slug, key.id)
        >>> key = client.orgs.regenerate_api_key(slug, key.id)
        >>> [row.name for row in client.orgs.list_api_keys(slug)]
        ['ci']
        >>> client.orgs.delete_api_key(slug, key.id)

        >>> # Credits
        >>> client.orgs.balance(slug).balance
        Decimal(...)
        >>> [entry.amount for entry in client.orgs.transactions(slug, kind="debit")]
        []
        >>> [group.total_amount for group in client.orgs.aggregate_transactions(slug, "executions", "hardware_profile")]
        []
        >>> client.orgs.delete(slug)
    """

    is_audited = True

    @GET("/orgs", magic="%lk_org list, %lk_org use")
    def list(self) -> Page[MyOrg]:
        """List the caller's organizations."""
        ...

    @POST("/orgs", effect="writes", status=201, magic="%lk_org create")
    def create(self, request: OrgCreate) -> Org:
        """Create an organization that the caller owns. Raises Conflict for a taken slug."""
        ...

    @GET("/orgs/{slug}", magic="%lk_org show, %lk_org billing")
    def get(self, slug: str) -> Org:
        """Read an organization."""
        ...

    @PATCH("/orgs/{slug}", effect="writes", magic="%lk_org rename, %lk_org billing")
    def update(self, slug: str, request: OrgUpdate) -> Org:
        """Change name, slug or billing data. The answer contains the slug to use from then on.

        Raises Conflict for a taken slug.
        """
        ...

    @DELETE("/orgs/{slug}", status=204, magic="%lk_org delete")
    def delete(self, slug: str) -> None:
        """Delete an organization permanently, with everything in it. Only owners may do this."""
        ...

    @GET("/orgs/{slug}/members", magic="%lk_org members")
    def list_members(self, slug: str) -> Page[OrgMember]:
        """List the members."""
        ...

    @POST("/orgs/{slug}/members", effect="writes", status=201, magic="%lk_org invite")
    def add_member(self, slug: str, request: OrgMemberAdd) -> OrgMemberAddResult:
        """Add a user by e-mail address, or send an invitation to a user without an account.

        Raises Conflict for a member.
        """
        ...

    @PATCH("/orgs/{slug}/members/{user_id}", effect="writes", magic="%lk_org role")
    def set_role(self, slug: str, user_id: str, request: OrgMemberRoleUpdate) -> OrgMember:
        """Give a member another role. Only owners may do this."""
        ...

    @DELETE("/orgs/{slug}/members/{user_id}", status=204, magic="%lk_org remove, %lk_org leave")
    def remove_member(self, slug: str, user_id: str) -> None:
        """Remove a member, or leave the organization. The last owner can't be removed."""
        ...

    @GET("/orgs/{slug}/balance", magic="%lk_balance, %lk_org show")
    def balance(self, slug: str) -> OrgBalance:
        """Read the balance of an organization."""
        ...

    @GET("/orgs/{slug}/transactions", magic="%lk_org transactions")
    def transactions(
        self,
        slug: str,
        limit: int | None = None,
        kind: Literal["credit", "debit"] | None = None,
        source: str | None = None,
    ) -> OrgTransactionList:
        """List the ledger of an organization, newest first. ``source`` selects entries, for example ``executions``."""
        ...

    @GET("/orgs/{slug}/transactions/aggregate", magic="%lk_org spending")
    def aggregate_transactions(self, slug: str, category: str, group_by: str) -> OrgTransactionAggregates:
        """Sum up the cost of a category.

        Examples of ``category`` are ``executions`` and ``vms``. ``group_by`` is a key of the metadata, for example
        ``hardware_profile``, ``vm_id`` or ``deployment_id``.
        """
        ...

    @GET("/orgs/{slug}/api-keys", magic="%lk_keys list")
    def list_api_keys(self, slug: str) -> Page[OrgApiKey]:
        """List the organization's keys."""
        ...

    @POST("/orgs/{slug}/api-keys", effect="writes", status=201, magic="%lk_keys create")
    def create_api_key(self, slug: str, request: OrgApiKeyCreate) -> OrgApiKeyCreated:
        """Create a key that always acts as the organization; only this answer contains its secret.

        Raises BadRequest for a taken name.
        """
        ...

    @DELETE("/orgs/{slug}/api-keys/{key_id}", status=204, magic="%lk_keys revoke")
    def revoke_api_key(self, slug: str, key_id: str) -> None:
        """Revoke a key until the key is regenerated."""
        ...

    @POST("/orgs/{slug}/api-keys/{key_id}/regenerate", effect="writes", magic="%lk_keys regenerate")
    def regenerate_api_key(self, slug: str, key_id: str) -> OrgApiKeyCreated:
        """Create a new secret for a key, even for a revoked key; the old secret stops working."""
        ...

    @POST("/orgs/{slug}/api-keys/{key_id}/delete", effect="deletes", status=204, magic="%lk_keys delete")
    def delete_api_key(self, slug: str, key_id: str) -> None:
        """Delete a key permanently; its name is free again."""
        ...

    @GET("/orgs/{slug}/invites", magic="%lk_org invites")
    def list_invites(self, slug: str) -> Page[OrgInvite]:
        """List the pending invitations."""
        ...

    @DELETE("/orgs/{slug}/invites/{invite_id}", status=204, magic="%lk_org withdraw")
    def revoke_invite(self, slug: str, invite_id: str) -> None:
        """Withdraw an invitation."""
        ...
