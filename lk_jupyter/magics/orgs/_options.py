"""What the verbs of ``%lk_org`` take."""

from __future__ import annotations

from typing import Literal

from lk_jupyter.magics._fields import limit, option, org, switch, word, yes
from lk_jupyter.options import Options

Role = Literal["owner", "admin", "member"]


class OrgOptions(Options):
    """Options of the verbs that take an organization and nothing else."""

    org: str | None = org()


class UseOptions(Options):
    """Options of ``%lk_org use``."""

    slug: str | None = word("Organization to act as, by its slug.", None, completer="orgs")
    default: bool = switch("Act as your default organization again.")


class CreateOptions(Options):
    """Options of ``%lk_org create``."""

    name: str = word("Name of the organization, in quotes when it has spaces.")
    slug: str | None = option(None, "Short name for commands: small letters, digits and dashes.", metavar="SLUG")
    billing_email: str | None = option(None, "Address that invoices go to.", metavar="ADDRESS")


class RenameOptions(Options):
    """Options of ``%lk_org rename``."""

    name: str | None = word("New name, in quotes when it has spaces.", None)
    slug: str | None = option(None, "New slug; the old one is no longer known.", metavar="SLUG")
    org: str | None = org()


class DeleteOptions(Options):
    """Options of ``%lk_org delete``."""

    slug: str = word("Organization, by its slug.", completer="orgs")
    yes: bool = switch("Do it without asking for the slug again.", "-y")


class BillingOptions(Options):
    """Options of ``%lk_org billing``."""

    email: str | None = option(None, "Address that invoices go to.", metavar="ADDRESS")
    company: str | None = option(None, "Company.")
    line1: str | None = option(None, "Street and number.")
    line2: str | None = option(None, "More of the address.")
    city: str | None = option(None, "City.")
    state: str | None = option(None, "State or province.")
    postal_code: str | None = option(None, "Postal code.", metavar="CODE")
    country: str | None = option(None, "Country, in two letters such as DE.")
    tax_id: str | None = option(None, "Tax number.", metavar="ID")
    tax_id_type: str | None = option(None, "Kind of tax number, such as eu_vat.", metavar="KIND")
    org: str | None = org()


class InviteOptions(Options):
    """Options of ``%lk_org invite``."""

    email: str = word("E-mail address.")
    role: Role = option("member", "What they may do: owner, admin or member.")
    org: str | None = org()


class RoleOptions(Options):
    """Options of ``%lk_org role``."""

    member: str = word("E-mail address or user id.", completer="members")
    role: Role = word("Role to give: owner, admin or member.")
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
    link: bool = switch("Ask for the link of an invitation without showing it, and tell what it is for.")


class AcceptOptions(Options):
    """Options of ``%lk_org accept``."""

    invite: str | None = word("Organization that invites, or id of the invitation. Default: the only one.", None)


class WithdrawOptions(Options):
    """Options of ``%lk_org withdraw``."""

    invite: str = word("Address that was invited, or id of the invitation.")
    org: str | None = org()


class TransactionsOptions(Options):
    """Options of ``%lk_org transactions``."""

    org: str | None = org()
    limit: int = limit(100)
    kind: Literal["credit", "debit"] | None = option(None, "Only credits or only debits.")
    source: str | None = option(None, "Only entries of this source, such as executions or vms.")
    plot: bool = switch("Draw them by day and source, above the table.")


class SpendingOptions(Options):
    """Options of ``%lk_org spending``."""

    category: str = word("What the credits went to, such as executions or vms.", "executions")
    by: str = option("hardware_profile", "What to sum up by: hardware_profile, vm_id, deployment_id …", metavar="KEY")
    org: str | None = org()
