"""Options of the subcommands of ``%lk_org``."""

from __future__ import annotations

from typing import Literal

from lk_jupyter.options.fields import limit, option, org, switch, word, yes
from lk_jupyter.options.runs import Options

Role = Literal["owner", "admin", "member"]


class OrgOptions(Options):
    """Options of the subcommands that take only an organization."""

    org: str | None = org()


class UseOptions(Options):
    """Options of ``%lk_org use``."""

    slug: str | None = word("Organization to use from now on: its short name (slug).", None, completer="orgs")
    default: bool = switch("Use your default organization again.")


class CreateOrgOptions(Options):
    """Options of ``%lk_org create``."""

    name: str = word("Name of the organization, in quotes if it contains spaces.")
    slug: str | None = option(None, "Short name for commands: lowercase letters, digits and dashes.", metavar="SLUG")
    billing_email: str | None = option(None, "E-mail address for invoices.", metavar="ADDRESS")


class RenameOrgOptions(Options):
    """Options of ``%lk_org rename``."""

    name: str | None = word("New name, in quotes if it contains spaces.", None)
    slug: str | None = option(None, "New slug; the old slug stops working.", metavar="SLUG")
    org: str | None = org()


class DeleteOrgOptions(Options):
    """Options of ``%lk_org delete``."""

    slug: str = word("Organization, by its slug.", completer="orgs")
    yes: bool = switch("Delete without typing the slug again.", "-y")


class BillingOptions(Options):
    """Options of ``%lk_org billing``."""

    email: str | None = option(None, "E-mail address for invoices.", metavar="ADDRESS")
    company: str | None = option(None, "Company.")
    line1: str | None = option(None, "Street and number.")
    line2: str | None = option(None, "Second line of the address.")
    city: str | None = option(None, "City.")
    state: str | None = option(None, "State or province.")
    postal_code: str | None = option(None, "Postal code.", metavar="CODE")
    country: str | None = option(None, "Country as two letters, such as DE.")
    tax_id: str | None = option(None, "Tax number.", metavar="ID")
    tax_id_type: str | None = option(None, "Kind of tax number, such as eu_vat.", metavar="KIND")
    org: str | None = org()


class InviteOptions(Options):
    """Options of ``%lk_org invite``."""

    email: str = word("E-mail address.")
    role: Role = option("member", "Role: owner, admin or member.")
    org: str | None = org()


class RoleOptions(Options):
    """Options of ``%lk_org role``."""

    member: str = word("E-mail address or user id.", completer="members")
    role: Role = word("New role: owner, admin or member.")
    org: str | None = org()


class MemberOptions(Options):
    """Options of ``%lk_org remove``."""

    member: str = word("E-mail address or user id.", completer="members")
    org: str | None = org()
    yes: bool = yes()


class LeaveOptions(Options):
    """Options of ``%lk_org leave``."""

    org: str | None = org()
    yes: bool = yes()


class InvitesOptions(Options):
    """Options of ``%lk_org invites``."""

    org: str | None = org()
    link: bool = switch("Prompt for the link of an invitation, and show organization and role.")


class AcceptOptions(Options):
    """Options of ``%lk_org accept``."""

    invite: str | None = word(
        "Organization that invited you, or the id of the invitation. Default: your invitation, if you have only one.",
        None,
    )


class WithdrawOptions(Options):
    """Options of ``%lk_org withdraw``."""

    invite: str = word("Invited e-mail address, or the id of the invitation.")
    org: str | None = org()


class TransactionsOptions(Options):
    """Options of ``%lk_org transactions``."""

    org: str | None = org()
    limit: int = limit(100)
    kind: Literal["credit", "debit"] | None = option(None, "Only credits or only debits.")
    source: str | None = option(None, "Only entries of this source, such as executions or vms.")
    plot: bool = switch("Plot credits by day and source above the table.")


class SpendingOptions(Options):
    """Options of ``%lk_org spending``."""

    category: str = word("What the credits were spent on, such as executions or vms.", "executions")
    by: str = option("hardware_profile", "What to group by: hardware_profile, vm_id, deployment_id …", metavar="KEY")
    org: str | None = org()
