"""``lk/rent/…``: rent a VM, deploy a model and create an API key for the panel, by the rules of the magics.

A page shows the price first and sends the price that its user confirmed. A higher price starts nothing. The secret of a
new key stays on this machine, in a file of the user: no answer contains the secret.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import UsageError
from lk_jupyter.serverext.base import Handler, guarded

if TYPE_CHECKING:
    from pathlib import Path

    from lk_jupyter.api._client import Client
    from lk_jupyter.api.inference import DedicatedModel
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.connection.rental import RentalPlan
    from lk_jupyter.serverext.models import NewKey, RentRequest
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider
    from lk_jupyter.vms.offers import VmOffer

#: Names of keys that can be names of files.
_KEY_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,62}")


class VmRental(Handler):
    """VMs for rent."""

    @guarded
    async def get(self) -> None:
        """Return the VMs for rent with their prices."""
        upstream = await self.desk.upstream()
        self.finish(await asyncio.to_thread(_list_vms, upstream.connection))

    @guarded
    async def post(self) -> None:
        """Rent a VM at the confirmed price, and return without waiting for its start."""
        from lk_jupyter.serverext.models import RentRequest  # noqa: PLC0415 (at first use, like all below)

        upstream = await self.desk.upstream()
        self.finish(await asyncio.to_thread(_rent_vm, upstream.connection, self.read(RentRequest)))


class DeploymentRental(Handler):
    """Models for dedicated GPUs."""

    @guarded
    async def get(self) -> None:
        """Return the models with the prices of a replica."""
        upstream = await self.desk.upstream()
        self.finish(await asyncio.to_thread(_list_models, upstream.connection))

    @guarded
    async def post(self) -> None:
        """Deploy a model at the confirmed price, and return without waiting for its start."""
        from lk_jupyter.serverext.models import RentRequest  # noqa: PLC0415

        upstream = await self.desk.upstream()
        self.finish(await asyncio.to_thread(_create_deployment, upstream.connection, self.read(RentRequest)))


class KeyCreation(Handler):
    """New API keys."""

    @guarded
    async def post(self) -> None:
        """Create a personal key, and return the path of the file with its secret."""
        from lk_jupyter.serverext.models import NewKey  # noqa: PLC0415

        upstream = await self.desk.upstream()
        self.finish(await asyncio.to_thread(_create_key, upstream.client, self.read(NewKey)))


def _build_offers(
    connection: Connection, rows: Iterable[tuple[str, str, Decimal, bool | None]], *, is_leased: bool = False
) -> list[dict[str, Any]]:
    """Return offers with the end of each: ``rows`` are id, label, price per hour, and whether the offer is free."""
    from lk_jupyter.connection.rental import Rental, compute_plan, read_rests  # noqa: PLC0415

    rows = list(rows)
    rests = read_rests(connection, max((price for _, _, price, _ in rows), default=None))
    offers = []
    for identity, label, price, free in rows:
        plan = compute_plan(connection, Rental(label, price, is_leased=is_leased), rests)
        offers.append({"id": identity, "label": label, "per_hour": f"{price:f}", "free": free, **_describe_end(plan)})
    return offers


def _describe_end(plan: RentalPlan) -> dict[str, Any]:
    """Return the seconds of a rental, and its end in words with the cost and who ends it."""
    from lk_jupyter.connection.rental import BROKER, ENFORCEMENT  # noqa: PLC0415
    from lk_jupyter.text.units import credits_label  # noqa: PLC0415

    enforcement = "the broker deletes it." if plan.enforcer == BROKER else ENFORCEMENT
    words = f"{plan.time_label}, for {credits_label(plan.cost)}. At {plan.end_label}, {enforcement}"
    return {"seconds": plan.seconds, "end": words[:1].upper() + words[1:]}


def _format_vm_id(offer: VmOffer) -> str:
    return f"{offer.profile}/{offer.count}/{offer.instance_type}"


def _format_vm_label(offer: VmOffer) -> str:
    label = str(offer).rpartition(" at ")[0]
    return f"{label} (can be reclaimed at any time)" if offer.instance_type == "spot" else label


def _list_vms(connection: Connection) -> dict[str, Any]:
    from lk_jupyter.vms.offers import list_offers  # noqa: PLC0415
    from lk_jupyter.vms.ssh import list_public_keys  # noqa: PLC0415

    client = connection.client
    by_kind = sorted(list_offers(client.vms.availability()), key=lambda offer: offer.instance_type == "spot")
    rows = [(_format_vm_id(offer), _format_vm_label(offer), offer.per_hour, offer.free) for offer in by_kind]
    offers = _build_offers(connection, rows, is_leased=client.has_broker)
    keys = list_public_keys()
    login = f"{keys[0].name} can log in." if keys else "An SSH key is created in ~/.ssh."
    return {"offers": offers, "note": login}


def _rent_vm(connection: Connection, request: RentRequest) -> dict[str, str]:
    from lk_jupyter.connection.preconditions import require_preconditions  # noqa: PLC0415
    from lk_jupyter.connection.rental import BROKER, Rental, plan_rental, state_end  # noqa: PLC0415
    from lk_jupyter.vms import vms  # noqa: PLC0415
    from lk_jupyter.vms.offers import list_offers, require_rentable  # noqa: PLC0415
    from lk_jupyter.vms.ssh import find_key, list_public_keys, make_key  # noqa: PLC0415

    client = connection.client
    require_preconditions(connection, "VM")
    availability = client.vms.availability()
    require_rentable(availability)
    offers = {_format_vm_id(offer): offer for offer in list_offers(availability)}
    offer = offers.get(request.offer)
    _check_price(request, offer.per_hour if offer else None)
    assert offer is not None  # noqa: S101 (a price was checked)
    plan = plan_rental(connection, Rental(str(offer), offer.per_hour, is_leased=client.has_broker), request.seconds)
    key = find_key() if list_public_keys() else make_key()
    lease = int(plan.seconds) if plan.enforcer == BROKER else None
    with state_end(plan):
        created = vms.create_once(client, vms.request_for(replace(offer.shape, lease=lease), key.line), offer)
    return {"id": created.vm_id, "name": created.display_name or created.vm_id}


def _list_priced_models(client: Client) -> dict[str, tuple[DedicatedModel, Decimal]]:
    """Return the models with a published price: nothing is deployed at an unknown price."""
    models = ((model, model.price_per_hour) for model in client.inference.models())
    return {model.serving_name: (model, price) for model, price in models if price is not None}


def _list_models(connection: Connection) -> dict[str, Any]:
    from lk_jupyter.account.active import hardware_label  # noqa: PLC0415

    rows = []
    for name, (model, price) in _list_priced_models(connection.client).items():
        hardware = hardware_label(model.gpu_type)
        count = f"{model.gpu_count} " if model.gpu_count > 1 else ""
        rows.append((name, f"{name} on {count}{hardware}", price, model.is_gpu_available))
    note = "It pauses after an hour without a request, and isn't billed then."
    offers = _build_offers(connection, rows)
    return {"offers": sorted(offers, key=lambda offer: Decimal(offer["per_hour"])), "note": note}


def _create_deployment(connection: Connection, request: RentRequest) -> dict[str, str]:
    from lk_jupyter.api.inference import CreateDeploymentRequest  # noqa: PLC0415
    from lk_jupyter.connection.preconditions import require_preconditions  # noqa: PLC0415
    from lk_jupyter.connection.rental import Rental, plan_rental, state_end  # noqa: PLC0415
    from lk_jupyter.inference.deploy import create_once  # noqa: PLC0415

    require_preconditions(connection, "deployment")

    model, price = _list_priced_models(connection.client).get(request.offer, (None, None))
    _check_price(request, price)
    assert model is not None  # noqa: S101 (a price was checked)
    body = CreateDeploymentRequest(
        hf_model_id=model.serving_name,
        hardware_profile=f"gpu.{model.gpu_type.lower()}",
        gpu_count=model.gpu_count,
        min_replicas=1,
        max_replicas=1,
    )
    with state_end(plan_rental(connection, Rental(model.serving_name, price), request.seconds)):
        return {"id": create_once(connection.client, body).deployment_id, "name": model.serving_name}


def _check_price(request: RentRequest, price: Decimal | None) -> None:
    """Refuse an offer that has ended, or costs more than its user confirmed. Raises UsageError."""
    if price is None:
        raise UsageError(f"'{request.offer[:100]}' is no longer offered. Nothing was started. Choose another.")
    if price > request.per_hour:
        raise UsageError(
            f"The price is {price.normalize():f} credits/h now, not {request.per_hour.normalize():f}. Nothing was "
            "started. Confirm the new price."
        )


def _create_key(client: Client, request: NewKey) -> dict[str, str]:
    """Create a key and write its secret to a new file that only its user can read. Raises UsageError."""
    from lk_jupyter.api.auth import ApiKeyCreate  # noqa: PLC0415
    from lk_jupyter.config.files import platform_path  # noqa: PLC0415

    if not _KEY_NAME.fullmatch(request.name):
        raise UsageError(
            f"The name '{request.name[:100]}' has other characters than letters, digits, '.', '-' and '_'. Nothing was "
            "created. Example: laptop"
        )
    path = platform_path("config", "keys", f"{request.name}.key")
    descriptor = _open_new(path)
    try:
        created = client.auth.create_api_key(ApiKeyCreate(key_name=request.name))
        try:
            os.write(descriptor, f"{created.api_key}\n".encode())
        except OSError as error:
            client.auth.revoke_api_key(created.id)
            raise UsageError(f"Can't write '{path}': {error.strerror}. The key was revoked.") from None
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)
    return {"name": request.name, "path": str(path)}


def _open_new(path: Path) -> int:
    """Create a file that only its user can read, and return its descriptor. Raises UsageError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"'{path}' exists. Nothing was created. Choose another name, or delete the file.") from None
    except OSError as error:
        raise UsageError(f"Can't write '{path}': {error.strerror}. Nothing was created.") from None


#: Seconds between two looks for VMs that should be deleted.
LOOK_SECONDS = 30.0


def start_release(desk: UpstreamProvider) -> None:
    """Delete overdue VMs of runs, continue relays and send messages, regularly in the loop of the Jupyter server."""
    from tornado.ioloop import PeriodicCallback  # noqa: PLC0415 (loaded by then)

    async def look() -> None:
        from lk_jupyter.serverext.vm_release import release_overdue  # noqa: PLC0415 (not before the first look)

        await release_overdue(desk)
        from lk_jupyter.serverext.drivers import continue_runs  # noqa: PLC0415

        await continue_runs()
        from lk_jupyter.serverext.messages import send_messages  # noqa: PLC0415

        await send_messages(desk)

    PeriodicCallback(look, LOOK_SECONDS * 1000).start()
