"""The end of everything that is rented by time, and its cost until then."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from localcloud.conftest import until
from magics.people import add_person

from lk_jupyter import session as session_module
from lk_jupyter.api.inference import CreateDeploymentRequest, StopDeploymentRequest
from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.api.vms import CreateVMRequest, NewVolume
from lk_jupyter.config import settings
from lk_jupyter.connection import rental
from lk_jupyter.connection.budget import read_usage, refresh_charges
from lk_jupyter.connection.rental import (
    Rental,
    extend_rental,
    find_stated_ends,
    find_volume_ends,
    plan_rental,
    state_end,
)
from lk_jupyter.errors import UsageError
from lk_jupyter.journal import charges, journal
from lk_jupyter.journal.charges import charge_book
from lk_jupyter.session import connect, current
from lk_jupyter.vms.rentals import release_rentals

pytestmark = pytest.mark.usefixtures("signed_in")

VM = CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100", display_name="box")
A100 = Rental("A100", Decimal("1.59"))
HOUR = 3600


@pytest.fixture
def session(cloud, tmp_path, monkeypatch):
    """A session with an own journal, whose rentals are deleted afterwards."""
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "journal.sqlite"))
    with connect() as session:
        yield session
    for vm in cloud.client.vms.list():
        cloud.client.vms.delete(vm.vm_id)
    for deployment in cloud.client.inference.list():
        cloud.client.inference.stop(StopDeploymentRequest(deployment_id=deployment.deployment_id))
    journal.close_all()
    charges.close_all()


def _count_active(cloud):
    return len(list(cloud.client.vms.list(include_terminated=False)))


def _pass_ends():
    """Move the stated ends of all rentals into the past."""
    for charge in charge_book().overdue(1e12):
        charge_book().update(charge.token, deadline=charge.begins - 1)


def test_a_rental_ends_after_eight_hours_or_when_the_smallest_budget_is_spent(session):
    assert plan_rental(session, A100).seconds == 8 * HOUR
    settings.save("day_budget", "2")
    settings.save("notebook_budget", "100")
    plan = plan_rental(session, A100)
    assert plan.limit == "the day budget"
    assert Decimal("1.9") < plan.cost <= 2
    assert "as long as the day budget pays" in plan.time_label


def test_the_balance_limits_a_rental_too(session, monkeypatch):
    monkeypatch.setattr(rental, "available_credits", lambda _: (Decimal("3.18"), False))
    assert plan_rental(session, A100).seconds == 2 * HOUR
    with pytest.raises(UsageError, match=r"3\.18 credits are left, and A100 for 3 h may cost 4\.77 .*--timeout 120m"):
        plan_rental(session, A100, 3 * HOUR)


def test_a_chosen_time_beyond_a_budget_is_refused_with_rest_cost_and_the_time_that_fits(session, cloud):
    settings.save("day_budget", "2")
    with pytest.raises(UsageError, match="The day budget of this computer is 2") as refusal:
        plan_rental(session, A100, 24 * HOUR)
    assert "A100 for 24 h may cost 38.16 credits. Nothing was sent." in str(refusal.value)
    assert plan_rental(session, A100, 60 * int(str(refusal.value).rpartition("--timeout ")[2].rstrip("m."))).cost <= 2
    assert _count_active(cloud) == 0


def test_a_vm_counts_until_its_end_before_it_is_rented_and_until_it_has_ended(session):
    settings.save("day_budget", "4")
    with state_end(plan_rental(session, A100, HOUR)):
        vm = session.client.vms.create(VM)
    use = read_usage(session, rental.active_budgets()[0][0])
    assert Decimal("1.5") < use.open + use.spent <= Decimal("1.6")
    with pytest.raises(UsageError, match="active VMs"):
        plan_rental(session, A100, 2 * HOUR)
    session.client.vms.delete(vm.vm_id)
    assert plan_rental(session, A100, 2 * HOUR)


def test_a_rental_by_the_raw_client_has_an_end_within_the_budget(session):
    settings.save("day_budget", "2")
    vm = session.client.vms.create(VM)
    [charge] = charge_book().charges(session.base_url)
    assert charge.most <= 2
    assert find_stated_ends(session.base_url) == {vm.vm_id: charge.deadline}
    assert 0 < charge.deadline - charge.begins < 2 * HOUR


def test_a_vm_and_a_deployment_are_deleted_once_after_their_end_and_not_before(session, cloud):
    vm = session.client.vms.create(VM)
    served = session.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo"))
    assert release_rentals(session) == []
    assert _count_active(cloud) == 1
    _pass_ends()
    lines = release_rentals(session)
    assert [line.partition(",")[0] for line in lines] == ["Deleted VM 'box'", "Deleted deployment 'local/echo'"]
    assert session.client.vms.status(vm.vm_id).status == "terminated"
    assert served.deployment_id not in [each.deployment_id for each in cloud.client.inference.list()]
    assert release_rentals(session) == []


def test_a_vm_that_a_list_lacks_once_keeps_its_end(session, monkeypatch):
    vm = session.client.vms.create(VM)
    rows = list(session.client.vms.list())
    settings.save("day_budget", "100")
    budget = rental.active_budgets()[0][0]
    with monkeypatch.context() as patch:
        patch.setattr(type(session.client.vms), "list", lambda *_, **__: [])
        refresh_charges(session, budget)
    assert vm.vm_id in find_stated_ends(session.base_url)
    assert rows
    refresh_charges(session, budget)
    [charge] = charge_book().charges(session.base_url)
    assert charge.is_active
    assert charge.unclear_at is None


def test_an_end_moves_only_as_far_as_the_budget_pays(session):
    settings.save("day_budget", "4")
    with state_end(plan_rental(session, A100, HOUR)):
        vm = session.client.vms.create(VM)
    assert extend_rental(session, vm.vm_id, "VM box", 2 * HOUR).seconds == 2 * HOUR
    [charge] = charge_book().charges(session.base_url)
    assert Decimal("3.1") < charge.most < Decimal("3.2")
    with pytest.raises(UsageError, match="The day budget of this computer is 4"):
        extend_rental(session, vm.vm_id, "VM box", 5 * HOUR)
    with pytest.raises(UsageError, match="rented elsewhere"):
        extend_rental(session, "f" * 32, "VM other", HOUR)


def test_another_account_neither_deletes_nor_forgets_a_rental(session, cloud):
    vm = session.client.vms.create(VM)
    _pass_ends()
    _, key = add_person(cloud)
    with connect(cloud.base_url, key) as other:
        for _ in range(2):
            assert release_rentals(other) == []
            for charge in charge_book().overdue(1e12):
                charge_book().update(charge.token, unclear_at=1.0)
    assert session.client.vms.status(vm.vm_id).phase is not LifecyclePhase.ENDED
    [charge] = charge_book().overdue(1e12)
    assert charge.resource == vm.vm_id
    charge_book().update(charge.token, unclear_at=None)
    assert len(release_rentals(session)) == 1


def test_the_next_command_of_a_shell_and_the_next_session_of_a_kernel_delete_what_has_ended(
    session, cloud, monkeypatch
):
    session.client.vms.create(VM)
    _pass_ends()
    command = [sys.executable, "-m", "lk_jupyter.cli", "runs", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Deleted VM 'box', which had to end at " in done.stderr
    assert _count_active(cloud) == 0
    session.client.vms.create(VM)
    _pass_ends()
    monkeypatch.setattr(session_module, "_next_look", 0.0)
    current()
    until(lambda: _count_active(cloud) == 0)


def test_a_new_volume_counts_besides_its_vm_and_only_a_stated_end_deletes_it(session, cloud):
    settings.save("day_budget", "50")
    request = VM.model_copy(update={"new_volume": NewVolume(size_gb=1000)})
    for seconds in (None, HOUR):
        plan = replace(plan_rental(session, A100, HOUR), volume_seconds=seconds)
        with state_end(plan):
            vm = session.client.vms.create(request)
        [volume] = [each for each in session.client.block.list() if each.attached_vm_id == vm.vm_id]
        ends = find_volume_ends(session)
        assert (volume.volume_id in ends) is (seconds is not None)
        kinds = {charge.kind: charge for charge in charge_book().charges(session.base_url)}
        assert kinds["VM"].rate == Decimal("1.59")
        assert kinds["volume"].most == kinds["volume"].rate * (1 if seconds else 24)
        session.client.vms.delete(vm.vm_id)
    _pass_ends()
    release_rentals(session)
    assert [each.volume_id for each in session.client.block.list()] == [
        charge.resource
        for charge in charge_book().charges(session.base_url)
        if charge.kind == "volume" and charge.is_active
    ]
    [remaining] = session.client.block.list()
    session.client.block.delete(remaining.volume_id)


def test_a_volume_beyond_the_budget_is_refused_with_its_vm(session, cloud):
    settings.save("day_budget", "2")
    with pytest.raises(UsageError, match=r"The day budget of this computer is 2.*volume '90000 GB' for 24 h may cost"):
        session.client.vms.create(VM.model_copy(update={"new_volume": NewVolume(size_gb=90_000)}))
    assert _count_active(cloud) == 0
    assert charge_book().charges(session.base_url) == []
