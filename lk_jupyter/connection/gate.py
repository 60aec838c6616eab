"""Reserve the maximum cost of a request before it is sent, from any sender: a magic, Python code or JupyterLab.

The client of a connection calls ``SpendingGate`` for each request. Runs of magics and sessions reserve their cost in
the journal themselves (``allow_reserved_requests``); all other spending gets a row in the charges, also without a
budget, so that a later budget counts the row. Chats and embeddings get a row only under a budget, because their prices
would have to be read first. The stock clients of OpenAI and Anthropic call ``reserve_foreign``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lk_jupyter.api._endpoint import Call, Endpoint
from lk_jupyter.config.assumptions import ROUTERS
from lk_jupyter.connection import budget
from lk_jupyter.connection.budget import BATCH, CHAT, DEPLOYMENT, LEAST_HOURS, RUN, VM, VOLUME, CostRequest, Spender
from lk_jupyter.errors import InvalidResponse, LkError, OutcomeUnknown, ServerError, UsageError
from lk_jupyter.journal.charges import RecordedCharge, charge_book
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.machines.catalogue import cost_at_limit
from lk_jupyter.machines.prices import Prices, TokenPrices, prices_by_model
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.text.units import limit_label

if TYPE_CHECKING:
    from lk_jupyter.connection.rental import RentalPlan

#: Seconds for which prices of tokens are kept.
_FRESH = 60.0

#: Free requests of other clients: files, lists of models, and the end of a batch.
_FREE = re.compile(r"/(?:files|models)(?:[/?]|$)|/cancel$|/count_tokens$")

_has_reservation: ContextVar[bool] = ContextVar("_has_reservation", default=False)
_declared_most: ContextVar[Decimal | None] = ContextVar("_known_most", default=None)


@contextmanager
def allow_reserved_requests() -> Iterator[None]:
    """Send requests in this block whose cost is reserved in the journal."""
    token = _has_reservation.set(True)
    try:
        yield
    finally:
        _has_reservation.reset(token)


@contextmanager
def costs_at_most(amount: Decimal | None) -> Iterator[None]:
    """State the maximum cost of a request in this block, in credits, for requests that don't determine their cost."""
    token = _declared_most.set(amount)
    try:
        yield
    finally:
        _declared_most.reset(token)


@dataclass(frozen=True)
class Expense:
    """The possible cost of a request: ``rate`` per hour without a time limit, else ``most``; None if unknown."""

    kind: str
    name: str
    rate: Decimal | None = None
    most: Decimal | None = None
    unpriced: str = ""
    saves: str = ""
    tokens: TokenPrices | None = None
    resource: str | None = None
    plan: RentalPlan | None = None
    has_end: bool = True

    @property
    def reserve(self) -> Decimal | None:
        """The credits that a budget must have left: until the stated end of a rental, otherwise for an hour."""
        if self.rate is None:
            return self.most
        return self.rate * Decimal(str(self.plan.seconds)) / 3600 if self.plan else self.rate * LEAST_HOURS

    @property
    def request(self) -> CostRequest:
        """The request in the words of a refusal."""
        time_words = (
            f" for {limit_label(self.plan.seconds)}" if self.plan else " in its first hour" if self.rate else ""
        )
        return CostRequest(f"{self.kind} {self.name!r}{time_words}", self.reserve, self.unpriced, saves=self.saves)


class Reservation:
    """The row of a request in the charges, until the answer shows the result."""

    def __init__(self, token: str, expense: Expense) -> None:
        self.token = token
        self.volume: Reservation | None = None
        self._expense = expense

    def confirm(self, answer: Any) -> None:
        """Record the id of the started resource, or the cost of an answer."""
        if self.volume:
            self.volume.confirm(answer)
        changes: dict[str, Any] = {}
        if self._expense.kind == VOLUME:  # its id is in later answers; until then, its VM identifies it
            charge_book().update(self.token, name=getattr(answer, "vm_id", self._expense.name))
            return
        for name in ("vm_id", "deployment_id", "execution_id", "id"):
            if isinstance(resource_id := getattr(answer, name, None), str):
                changes = {"resource": resource_id}
                break
        if self._expense.tokens is not None:
            cost = self._expense.tokens.cost(getattr(answer, "usage", None))
            changes["ends"] = time.time()
            changes["cost"] = self._expense.most if cost is None else cost
        if changes:
            charge_book().update(self.token, **changes)

    def fail(self, error: BaseException) -> None:
        """Give the credits back, unless something may have been started nevertheless."""
        if self.volume:
            self.volume.fail(error)
        from lk_jupyter.api.vms import means_no_capacity  # noqa: PLC0415 (a run needs no operations of VMs)

        is_unclear = isinstance(error, (OutcomeUnknown, InvalidResponse, ServerError)) or not isinstance(error, LkError)
        if is_unclear and not (isinstance(error, ServerError) and means_no_capacity(error.detail)):
            charge_book().update(self.token, unclear_at=time.time())
        else:
            charge_book().remove(self.token)

    def follow(self, events: Iterator[Any]) -> Iterator[Any]:
        """Yield the events of a stream, and record the cost in the last event."""
        last = None
        try:
            for event in events:
                last = event if last is None or getattr(event, "usage", None) else last
                yield event
        except LkError as error:
            if last is None:
                self.fail(error)
            raise
        self.confirm(last)


class End:
    """The end of a VM or a deployment, recorded after the server has confirmed the end."""

    def __init__(self, base_url: str, kind: str, resource: str) -> None:
        self._base_url = base_url
        self._kind = kind
        self._resource = resource

    def confirm(self, answer: Any) -> None:
        """Record that nothing more is billed."""
        for charge in charge_book().charges(self._base_url):
            if (charge.kind, charge.resource) == (self._kind, self._resource) and charge.is_active:
                charge_book().update(charge.token, ends=time.time())
            elif charge.kind == VOLUME and charge.resource is None and charge.name == self._resource:
                detached = [each.volume_id for each in getattr(answer, "detached_volumes", None) or ()]
                if detached:
                    charge_book().update(charge.token, resource=detached[-1])

    def fail(self, error: BaseException) -> None:
        """Record nothing: the resource may still be billed."""


def record_cost(connection: Spender, resource: str, cost: Decimal) -> None:
    """Record the cost of a resource that was read to its end, such as a batch."""
    for charge in charge_book().charges(connection.base_url):
        if charge.resource == resource and charge.is_active:
            charge_book().update(charge.token, cost=cost, ends=time.time())


def changes_billing(endpoint: Endpoint) -> bool:
    """Whether an operation starts or ends something that is billed."""
    return endpoint.effect == "spends" or endpoint.title in _ENDS


class SpendingGate:
    """A gate that reserves the cost of each spending request of a connection. Raises UsageError beyond a budget."""

    def __init__(self, connection: Spender) -> None:
        self._connection = connection
        self._tokens: dict[str, TokenPrices] = {}
        self._read_at = -_FRESH

    def __call__(self, call: Call) -> Reservation | End | None:
        """Return the reservation of a request; None for a request that changes no bill."""
        title = call.endpoint.title
        if _has_reservation.get():
            return self._reserve_volume(call)
        if title in _ENDS:
            kind, find_resource = _ENDS[title]
            return End(self._connection.base_url, kind, find_resource(call))
        if call.endpoint.effect != "spends":
            return None
        look, is_always_recorded = _EXPENSES.get(title, (None, False))
        budgets = budget.active_budgets()
        if look is None and budgets:
            raise UsageError(f"{budgets[0][0].title} can't be enforced: {title} has no known price. Nothing was sent.")
        if look is None or not (budgets or is_always_recorded):
            return None
        try:
            expense = look(self, call)
        except LkError:
            if budgets:
                raise
            return None
        return self._reserve_with_volume(expense, call) if expense else None

    def _reserve_with_volume(self, expense: Expense, call: Call) -> Reservation:
        """Reserve the cost of a request, and the cost of the new volume of a VM."""
        volume = self._reserve_volume(call)
        try:
            reservation = self._reserve_expense(self._state_end(expense, call))
        except BaseException:
            if volume:
                charge_book().remove(volume.token)
            raise
        reservation.volume = volume
        return reservation

    def _reserve_volume(self, call: Call) -> Reservation | None:
        """Reserve the cost of a new volume, which outlives its VM; None without a new volume."""
        body: Any = call.body
        if call.endpoint.title != "Vms.create" or not body.new_volume:
            return None
        from lk_jupyter.api.block import BlockVolume  # noqa: PLC0415 (few rent volumes)
        from lk_jupyter.connection import rental  # noqa: PLC0415

        size = body.new_volume.size_gb
        rate = Prices(book=self._read_price_book()).volume_price(BlockVolume(volume_id="new", size_gb=size))
        plan = rental.stated_plan(self._connection)
        seconds = plan.volume_seconds if plan else None
        now, time_reserved = self._connection.client.now(), seconds or rental.VOLUME_SECONDS
        return self._reserve_expense(
            Expense(
                VOLUME,
                f"{size} GB",
                rate,
                unpriced="volumes have no published price.",
                plan=rental.RentalPlan(time_reserved, rate, now + time_reserved),
                has_end=seconds is not None,
            )
        )

    def _state_end(self, expense: Expense, call: Call) -> Expense:
        """Return an expense with the end of its rental: as stated before the question, or the default end."""
        if call.endpoint.title not in _RENTALS:
            return expense
        from lk_jupyter.connection import rental  # noqa: PLC0415 (few rent anything)

        plan = rental.stated_plan(self._connection)
        if plan is None:
            is_leased = expense.kind == VM and self._connection.client.has_broker
            name = f"{expense.kind} {expense.name!r}"
            wish = rental.Rental(name, expense.rate, expense.unpriced, expense.saves, is_leased)
            plan = rental.plan_rental(self._connection, wish, getattr(call.body, "timeout", None))
        return replace(expense, plan=plan)

    def reserve_foreign(self, path: str, read: Callable[[], bytes], deployment: str | None) -> None:
        """Reserve the cost of a request of a foreign client, whose answer isn't seen: the maximum counts.

        ``read`` returns the body. ``deployment`` is the id of the deployment that answers; tokens of a deployment are
        free.
        """
        if not budget.active_budgets() or _FREE.search(path):
            return
        if deployment:
            expense = self._price_wake_up(deployment)
        elif path.rstrip("/").endswith("/batches"):
            expense = Expense(
                BATCH, "of another client", unpriced="the cost of a batch that another program sends isn't known."
            )
        else:
            expense = self._price_request(read())
        if expense:
            self._reserve_expense(expense).confirm(None)

    def _price_request(self, content: bytes) -> Expense:
        """Return the price of a request by its JSON: an unknown model name, such as an alias, has the highest price."""
        from lk_jupyter.api.serverless import MAX_TOKENS  # noqa: PLC0415 (few budgets count chats)

        body: dict[str, Any] = {}
        with suppress(ValueError):
            body = load_json(content)
        model = str(body.get("model"))
        prices = self._find_token_prices(model)
        prices = prices if prices.prompt is not None else self._find_highest_prices()
        limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
        most = None
        if prices.prompt is not None and prices.completion is not None:
            limit = next((limit for limit in limits if isinstance(limit, int)), MAX_TOKENS)
            answers = limit * max(1, _default_to_one(body.get("n")))
            most = len(content) * prices.prompt + answers * prices.completion
        unpriced = f"{model} has no published price. Models with a price: %lk_models."
        return Expense(CHAT, model, most=most, unpriced=unpriced, saves="max_tokens=N", tokens=prices)

    def _reserve_expense(self, expense: Expense) -> Reservation:
        token = uuid4().hex
        charge_book().add(
            RecordedCharge(
                token,
                self._connection.base_url,
                expense.kind,
                expense.name,
                time.time(),
                current_cell().notebook,
                rate=expense.rate,
                most=expense.reserve,
                resource=expense.resource,
                deadline=expense.plan.ends_at if expense.plan and expense.has_end else None,
                account=budget.read_account(self._connection) if expense.plan else None,
            )
        )
        request = expense.request
        try:
            budget.refuse_over_budget(
                self._connection,
                CostRequest(request.words, request.amount, request.unpriced, charge=token, saves=request.saves),
            )
        except BaseException:
            charge_book().remove(token)
            raise
        return Reservation(token, expense)

    def _price_run(self, call: Call) -> Expense:
        """Return the price of a run that wasn't built by this package: its machine for the time limit."""
        body: Any = call.body
        profile, price = body.execution_type, None
        for machine in self._connection.machines():
            if machine.hardware_profile.lower() == profile.lower():
                price = machine.price_per_hour
        return Expense(
            RUN,
            getattr(body, "run_name", None) or body.file_name or profile,
            most=cost_at_limit(price, body.timeout),
            unpriced=f"{profile} has no published price. Machines with a price: %lk_machines.",
            saves="a lower timeout",
        )

    def _price_selection(self, call: Call) -> Expense:
        """Return the price of a comparison of GPUs: a try on each GPU."""
        body: Any = call.body
        catalogue = self._connection.machines()
        costs = [
            cost_at_limit(machine.price_per_hour, body.timeout) for machine in catalogue if catalogue.allows(machine)
        ]
        amounts = [cost for cost in costs if cost is not None]
        return Expense(
            RUN,
            body.file_name or "GPU comparison",
            most=sum(amounts, Decimal(0)) if amounts else None,
            unpriced="No GPU has a published price.",
            saves="--timeout SECONDS",
        )

    def _price_vm(self, call: Call) -> Expense:
        """Return the price of a VM, without its new volume."""
        from lk_jupyter.api import vms  # noqa: PLC0415 (few rent VMs)

        body: Any = call.body
        client = self._connection.client
        prices = Prices(
            tuple(self._connection.machines()), _read_or_none(client.vms.availability), (), self._read_price_book()
        )
        count = body.instance_specs.gpu_count if body.instance_specs else 1
        shape = {"hardware_profile": body.hardware_profile, "gpu_count": count, "instance_type": body.instance_type}
        rate = prices.hourly_vm_price(vms.VM(vm_id="new", **shape))
        unpriced = f"VMs with {body.hardware_profile} have no published price. VMs with a price: %lk_vm offers."
        return Expense(VM, body.display_name or body.name or body.hardware_profile, rate, unpriced=unpriced)

    def _price_deployment(self, call: Call) -> Expense:
        """Return the price of a deployment with the maximum number of replicas."""
        body: Any = call.body
        card = body.hardware_profile or body.gpu_type
        rate = self._find_replica_price(body.hf_model_id, card, body.gpu_count)
        return Expense(
            DEPLOYMENT,
            body.hf_model_id,
            None if rate is None else rate * max(body.min_replicas, body.max_replicas),
            unpriced=f"{body.hf_model_id} on this GPU has no published price.",
            saves="--replicas 1",
        )

    def _find_replica_price(self, model: str, card: str | None, count: int | None) -> Decimal | None:
        models = [
            each
            for each in self._connection.client.inference.models()
            if model in {each.serving_name, each.hf_model_id}
        ]
        card = (card or "").lower().removeprefix("gpu.")
        for each in models:
            if card in {"", each.gpu_type.lower()} and count in {None, each.gpu_count}:
                return each.price_per_hour
        price = Prices(tuple(self._connection.machines())).machine_price(card)
        return None if price is None else price * (count or next((each.gpu_count for each in models), 1))

    def _price_question(self, call: Call) -> Expense | None:
        """Return the price of a question to a deployment: tokens are free, but a paused deployment wakes up."""
        name = next((value for key, value in call.headers.items() if key.lower() == "x-deployment-id"), None)
        return self._price_wake_up(name or getattr(call.body, "model", None))

    def _price_wake_up(self, name: str | None) -> Expense | None:
        """Price a deployment that a question wakes up; None for a deployment that is active."""
        charges = charge_book().charges(self._connection.base_url)
        if not name or any(charge.resource == name and charge.is_active for charge in charges):
            return None
        row = _read_or_none(lambda: self._connection.client.inference.get(name))
        if row is None or row.status not in {"paused", "pending"}:
            return None
        rate = self._find_replica_price(row.hf_model_id, row.hardware_profile, None)
        return Expense(
            DEPLOYMENT,
            row.hf_model_id,
            rate,
            unpriced=f"{row.hf_model_id} has no published price, and a request would start its replicas.",
            resource=name,
        )

    def _price_batch(self, call: Call) -> Expense:
        """Return the price of a batch, which the caller states, because the rows are in a file."""
        body: Any = call.body
        unpriced = "the cost of this batch has no limit. Set one: %lk_batch --max-tokens 500."
        return Expense(BATCH, body.input_file_id, most=_declared_most.get(), unpriced=unpriced, saves="--max-tokens N")

    def _price_chat(self, call: Call) -> Expense:
        """Price a chat: each byte of the request may be a token, and the answer may be as long as is allowed."""
        from lk_jupyter.api.serverless import MAX_TOKENS  # noqa: PLC0415 (few budgets count chats)

        body: Any = call.body
        answers = (body.max_tokens or MAX_TOKENS) * max(1, _default_to_one((body.model_extra or {}).get("n")))
        return self._price_tokens(body, answers, "--max-tokens N")

    def _price_embeddings(self, call: Call) -> Expense:
        return self._price_tokens(call.body, 0, "fewer texts")

    def _price_tokens(self, body: Any, answers: int, saves: str) -> Expense:
        prices = self._find_token_prices(body.model)
        most = None
        if prices.prompt is not None and (prices.completion is not None or not answers):
            most = len(body.model_dump_json().encode()) * prices.prompt + answers * (prices.completion or Decimal(0))
        unpriced = f"{body.model} has no published price. Models with a price: %lk_models."
        return Expense(CHAT, body.model, most=most, unpriced=unpriced, saves=saves, tokens=prices)

    def _find_token_prices(self, model: str) -> TokenPrices:
        """Return the prices of a model; for a router, which chooses a model, the highest prices."""
        if time.monotonic() - self._read_at > _FRESH:
            self._tokens, self._read_at = prices_by_model(self._read_price_book()), time.monotonic()
        if model in self._tokens or not model.startswith(ROUTERS):
            return self._tokens.get(model, TokenPrices())
        return self._find_highest_prices()

    def _find_highest_prices(self) -> TokenPrices:
        """Return the highest prices of the shared models."""
        prompts = [each.prompt for each in self._tokens.values() if each.prompt is not None]
        answers = [each.completion for each in self._tokens.values() if each.completion is not None]
        return TokenPrices(max(prompts, default=None), max(answers, default=None))

    def _read_price_book(self) -> tuple[Any, ...]:
        return tuple(_read_or_none(self._connection.client.pricing.get) or ())


def _read_or_none(read: Callable[[], Any]) -> Any:
    """Return an answer; None from a server that doesn't have such an operation."""
    with suppress(LkError):
        return read()
    return None


def _default_to_one(value: Any) -> int:
    return value if isinstance(value, int) else 1


#: Operation → pricing function, and whether the cost is recorded without a budget too.
_EXPENSES: dict[str, tuple[Callable[[SpendingGate, Call], Expense | None], bool]] = {
    "Execution.start_streaming": (SpendingGate._price_run, True),
    "Execution.start_image": (SpendingGate._price_run, True),
    "Execution.start_compose": (SpendingGate._price_run, True),
    "Execution.start_gpu_selection": (SpendingGate._price_selection, True),
    "Vms.create": (SpendingGate._price_vm, True),
    "Inference.create": (SpendingGate._price_deployment, True),
    "Batches.create": (SpendingGate._price_batch, True),
    "Iris.chat_completions": (SpendingGate._price_question, False),
    "Iris.stream_chat_completions": (SpendingGate._price_question, False),
    "OpenAI.chat_completions": (SpendingGate._price_chat, False),
    "OpenAI.stream_chat_completions": (SpendingGate._price_chat, False),
    "OpenAI.embeddings": (SpendingGate._price_embeddings, False),
    "Serverless.chat_completions": (SpendingGate._price_chat, False),
    "Serverless.stream_chat_completions": (SpendingGate._price_chat, False),
    "Serverless.embeddings": (SpendingGate._price_embeddings, False),
}

#: Operations that rent a resource until it is deleted.
_RENTALS = frozenset({"Vms.create", "Inference.create"})

#: Operation that ends a resource → kind of the resource, and the id in the request.
_ENDS: dict[str, tuple[str, Callable[[Call], str]]] = {
    "Vms.delete": (VM, lambda call: call.path.rpartition("/")[2]),
    "Block.delete": (VOLUME, lambda call: call.path.rpartition("/")[2]),
    "Inference.stop": (DEPLOYMENT, lambda call: str(getattr(call.body, "deployment_id", ""))),
}
