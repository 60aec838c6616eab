"""Organizations themselves: which there are, which one acts, new ones, old ones."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter import config
from lk_jupyter.api.orgs import Org, OrgBillingDetails, OrgCreate, OrgUpdate
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._ask import answered
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._rights import may
from lk_jupyter.magics._views import Table, say
from lk_jupyter.magics.orgs._options import (
    BillingOptions,
    CreateOptions,
    DeleteOptions,
    OrgOptions,
    RenameOptions,
    UseOptions,
)
from lk_jupyter.magics.orgs._verbs import lk_org
from lk_jupyter.options import NoOptions, check_model
from lk_jupyter.runs.cost import credits_label
from lk_jupyter.runs.orgs import acting, slug_of
from lk_jupyter.runs.session import current

_BILLING = {
    "company": "billing_company_name",
    "line1": "billing_address_line1",
    "line2": "billing_address_line2",
    "city": "billing_city",
    "state": "billing_state",
    "postal_code": "billing_postal_code",
    "country": "billing_country",
    "tax_id": "billing_tax_id",
    "tax_id_type": "billing_tax_id_type",
}


@lk_org.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List your organizations, your role in each, and which one is in use."""
    client = current().client
    acts = acting(client)
    rows = [
        ("→" if acts and org.id == acts.org_id else "", org.slug, org.name, org.role, "yes" if org.is_default else "")
        for org in client.orgs.list()
    ]
    display(Table(("", "Slug", "Name", "Your role", "Default"), rows, note="→ is the one in use: %lk_org use SLUG."))


@lk_org.verb("use", UseOptions)
def _use(options: UseOptions, _shell: InteractiveShell) -> None:
    """Act as an organization from now on: it pays, and owns what you start.

    Examples::

        %lk_org use my-team
        %lk_org use --default
    """
    if options.default == bool(options.slug):
        raise UsageError("%lk_org use: name an organization, or give --default.")
    if options.slug:
        _check_membership(options.slug)
    config.save("org", options.slug)
    acts = acting(current().client)
    _tell_use(options.slug, acts.slug if acts else None)


def _check_membership(slug: str) -> None:
    known = [org.slug for org in current().client.orgs.list()]
    if slug not in known:
        raise UsageError(f"You are in no organization {slug}. You are in: {', '.join(known)}.")


def _tell_use(asked: str | None, acts: str | None) -> None:
    source = config.resolve("org").source
    if asked and acts and acts != asked:
        reason = "the key belongs to it" if source.startswith("config") else f"{source} says so"
        say(f"Kept, but you act as {acts} all the same: {reason}.")
    else:
        display(Note(f"You act as {acts or asked or 'your default organization'} now."))


@lk_org.verb("show", OrgOptions)
def _show(options: OrgOptions, _shell: InteractiveShell) -> None:
    """Tell of one organization: its balance, and who gets its invoices.

    Example: ``%lk_org show --org my-team``
    """
    client = current().client
    slug = slug_of(client, options.org)
    org, balance = client.orgs.get(slug), client.orgs.balance(slug)
    state = "suspended" if balance.account_suspended else "in order"
    rows = [
        ("Slug", org.slug),
        ("Made", f"{org.created_at.astimezone():%d %b %Y}"),
        ("Balance", f"{credits_label(balance.balance)}, {state}"),
        *_billing_rows(org),
        ("Id", org.id),
    ]
    display(Table((org.name, ""), rows))


@lk_org.verb("create", CreateOptions)
def _create(options: CreateOptions, _shell: InteractiveShell) -> None:
    """Make an organization that you own.

    Example: ``%lk_org create "My team" --slug my-team``
    """
    request = check_model(OrgCreate, options.model_dump())
    org = current().client.orgs.create(request)
    display(Note(f"Made {org.name} ({org.slug}). %lk_org use {org.slug} acts as it."))


@lk_org.verb("rename", RenameOptions)
def _rename(options: RenameOptions, _shell: InteractiveShell) -> None:
    """Give an organization another name, another slug, or both.

    Example: ``%lk_org rename "Our team" --slug our-team``
    """
    if not (options.name or options.slug):
        raise UsageError("%lk_org rename: give a new name, or --slug.")
    client = current().client
    before = slug_of(client, options.org)
    changes = check_model(OrgUpdate, options.model_dump(include={"name", "slug"}, exclude_none=True))
    with may(before, "organization"):
        org = client.orgs.update(before, changes)
    if org.slug != before and config.setting("org") == before:
        config.save("org", org.slug)
    display(Note(f"It is {org.name} ({org.slug}) now."))


@lk_org.verb("billing", BillingOptions)
def _billing(options: BillingOptions, _shell: InteractiveShell) -> None:
    """Show what stands on the invoices of an organization, or change it.

    Example: ``%lk_org billing --company "Example GmbH" --country DE``
    """
    client = current().client
    slug = slug_of(client, options.org)
    given = options.model_dump(exclude_none=True, exclude={"org"})
    changes = {_BILLING.get(name, "billing_email"): value for name, value in given.items()}
    if changes:
        with may(slug, "organization"):
            client.orgs.update(slug, check_model(OrgUpdate, changes))
    rows = _billing_rows(client.orgs.get(slug))
    note = "" if rows else f"Nothing yet. %lk_org billing --company NAME --country DE --org {slug} sets it."
    display(Table(("Invoices of " + slug, ""), rows, note=note))


@lk_org.verb("delete", DeleteOptions)
def _delete(options: DeleteOptions, _shell: InteractiveShell) -> None:
    """Delete an organization for good, with its keys, credits, machines and files. Asks for its slug.

    Example: ``%lk_org delete old-team``
    """
    slug, client = options.slug, current().client
    balance = client.orgs.balance(slug).balance
    question = f"{slug} goes for good, with {credits_label(balance)} left in it. Type {slug} to go on: "
    if not options.yes and answered(question) != slug:
        say("Nothing was deleted. --yes deletes without asking.")
        return
    with may(slug, "organization"):
        client.orgs.delete(slug)
    if config.setting("org") == slug:
        config.save("org", None)
    display(Note(f"Deleted {slug}."))


def _billing_rows(org: Org) -> list[tuple[str, str]]:
    details = org.billing_details or OrgBillingDetails()
    told = {"email": org.billing_email, **{name: getattr(details, field) for name, field in _BILLING.items()}}
    return [(name.replace("_", " ").capitalize(), value) for name, value in told.items() if value]
