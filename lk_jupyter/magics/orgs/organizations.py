"""List, choose, create, change and delete organizations."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.organizations import chosen_slug, read_acting_organization
from lk_jupyter.api.orgs import Org, OrgBillingDetails, OrgCreate, OrgUpdate
from lk_jupyter.config import settings
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine.ask import prompt_user
from lk_jupyter.magics._engine.permissions import explain_missing_role
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics.orgs._verbs import lk_org
from lk_jupyter.options.orgs import (
    BillingOptions,
    CreateOrgOptions,
    DeleteOrgOptions,
    OrgOptions,
    RenameOrgOptions,
    UseOptions,
)
from lk_jupyter.options.runs import NoOptions, check_model
from lk_jupyter.session import current
from lk_jupyter.text.units import credits_label, moment_label

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
    """List your organizations, your role in each, and the organization in use."""
    client = current().client
    acts = read_acting_organization(client)
    rows = [
        ("→" if acts and org.id == acts.org_id else "", org.slug, org.name, org.role, "yes" if org.is_default else "")
        for org in client.orgs.list()
    ]
    display(
        Table(
            ("", "Slug", "Name", "Your role", "Default"),
            rows,
            note="→ marks the organization in use. Switch: %lk_org use SLUG",
        )
    )


@lk_org.verb("use", UseOptions)
def _use(options: UseOptions, _shell: InteractiveShell) -> None:
    """Use an organization from now on. It pays for your runs and machines, and owns them.

    Examples::

        %lk_org use my-team
        %lk_org use --default
    """
    if options.default == bool(options.slug):
        raise UsageError("%lk_org use needs an organization, or --default. Nothing was changed.")
    if options.slug:
        _check_membership(options.slug)
    settings.save("org", options.slug)
    acts = read_acting_organization(current().client)
    _show_organization_in_use(options.slug, acts.slug if acts else None)


def _check_membership(slug: str) -> None:
    slugs = [org.slug for org in current().client.orgs.list()]
    if slug not in slugs:
        raise UsageError(f"You aren't a member of '{slug}'. Your organizations: {', '.join(slugs)}.")


def _show_organization_in_use(requested: str | None, acts: str | None) -> None:
    source = settings.resolve("org").source
    if requested and acts and acts != requested:
        reason = "the key belongs to that organization" if source.startswith("config") else f"{source} says so"
        show_text(f"The setting is stored, but you still act as {acts}: {reason}.")
    else:
        display(Note(f"You now act as {acts or requested or 'your default organization'}."))


@lk_org.verb("show", OrgOptions)
def _show(options: OrgOptions, _shell: InteractiveShell) -> None:
    """Show the balance and the invoice address of an organization.

    Example: ``%lk_org show --org my-team``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    org, balance = client.orgs.get(slug), client.orgs.balance(slug)
    state = "suspended" if balance.account_suspended else "in order"
    rows = [
        ("Slug", org.slug),
        ("Made", moment_label(org.created_at, "%d %b %Y")),
        ("Balance", f"{credits_label(balance.balance)}, {state}"),
        *_build_billing_rows(org),
        ("Id", org.id),
    ]
    display(Table((org.name, ""), rows))


@lk_org.verb("create", CreateOrgOptions)
def _create(options: CreateOrgOptions, _shell: InteractiveShell) -> None:
    """Create an organization that you own.

    Example: ``%lk_org create "My team" --slug my-team``
    """
    request = check_model(OrgCreate, options.model_dump())
    org = current().client.orgs.create(request)
    display(Note(f"Created {org.name} ({org.slug}). Act for it: %lk_org use {org.slug}"))


@lk_org.verb("rename", RenameOrgOptions)
def _rename(options: RenameOrgOptions, _shell: InteractiveShell) -> None:
    """Change the name of an organization, its slug, or both.

    Example: ``%lk_org rename "Our team" --slug our-team``
    """
    if not (options.name or options.slug):
        raise UsageError("%lk_org rename needs a new name, or --slug. Nothing was changed.")
    client = current().client
    before = chosen_slug(client, options.org)
    changes = check_model(OrgUpdate, options.model_dump(include={"name", "slug"}, exclude_none=True))
    with explain_missing_role(before, "organization"):
        org = client.orgs.update(before, changes)
    if org.slug != before and settings.setting("org") == before:
        settings.save("org", org.slug)
    display(Note(f"The organization's name is now {org.name} ({org.slug})."))


@lk_org.verb("billing", BillingOptions)
def _billing(options: BillingOptions, _shell: InteractiveShell) -> None:
    """Show or change the invoice address of an organization.

    Example: ``%lk_org billing --company "Example GmbH" --country DE``
    """
    client = current().client
    slug = chosen_slug(client, options.org)
    values = options.model_dump(exclude_none=True, exclude={"org"})
    changes = {_BILLING.get(name, "billing_email"): value for name, value in values.items()}
    if changes:
        with explain_missing_role(slug, "organization"):
            client.orgs.update(slug, check_model(OrgUpdate, changes))
    rows = _build_billing_rows(client.orgs.get(slug))
    note = "" if rows else f"No invoice address. Set it: %lk_org billing --company NAME --country DE --org {slug}"
    display(Table(("Invoices of " + slug, ""), rows, note=note))


@lk_org.verb("delete", DeleteOrgOptions)
def _delete(options: DeleteOrgOptions, _shell: InteractiveShell) -> None:
    """Delete an organization permanently, with its keys, credits, machines and files. Prompts for the slug.

    Example: ``%lk_org delete old-team``
    """
    refuse_if_read_only("deletes")
    slug, client = options.slug, current().client
    balance = client.orgs.balance(slug).balance
    question = f"This deletes {slug} permanently, with the remaining {credits_label(balance)}. Type {slug} to confirm: "
    if not options.yes and prompt_user(question) != slug:
        show_text("Nothing was deleted. To skip the question: --yes")
        return
    with explain_missing_role(slug, "organization"):
        client.orgs.delete(slug)
    if settings.setting("org") == slug:
        settings.save("org", None)
    display(Note(f"Deleted {slug}."))


def _build_billing_rows(org: Org) -> list[tuple[str, str]]:
    details = org.billing_details or OrgBillingDetails()
    values = {"email": org.billing_email, **{name: getattr(details, field) for name, field in _BILLING.items()}}
    return [(name.replace("_", " ").capitalize(), value) for name, value in values.items() if value]
