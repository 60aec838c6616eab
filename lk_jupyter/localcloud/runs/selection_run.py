"""GPU selection: try a script on several machine types, each try as a separate run.

The tries run sequentially, so that they don't slow each other down on this machine.
"""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.execution import GpuSelectionRequest, StreamingExecutionRequest
from lk_jupyter.localcloud.billing.catalogue import is_gpu
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.runs.live_run import LiveRun
from lk_jupyter.localcloud.runs.outcome import COMPLETED, Ended, RunOutcome
from lk_jupyter.localcloud.runs.python_run import PythonRun, choose_script_name
from lk_jupyter.localcloud.runs.records import Facts, compute_run_seconds

Row = dict[str, Any]


def gpu_profiles(quota: tuple[str, ...]) -> list[str]:
    """Return the profiles that a selection tries."""
    return [profile for profile in quota if is_gpu(profile)]


class SelectionRun(LiveRun):
    """A selection; the ``metadata`` grow with each phase."""

    kind = "gpu selection"
    job_type = "gpu_selection"
    first_state = "initializing"
    _request: GpuSelectionRequest

    async def _run_steps(self) -> RunOutcome:
        metadata: dict[str, Any] = {}
        self._update_record(status="extracting", start_time=now())
        try:
            metadata["extraction_result"] = self._check_script()
            self._update_record(status="profiling", metadata=metadata)
            rows = metadata["profiling_results"] = []
            for profile in gpu_profiles(self._runs.quota):
                rows.append(await self._try_profile(profile))
                self._update_record(metadata=metadata)
            self._update_record(status="processing")
            metadata["selection_results"] = select(rows)
            self._update_record(metadata=metadata)
        finally:
            self._update_record(end_time=now())
        return COMPLETED if any(_has_succeeded(row) for row in rows) else _NONE_SUCCEEDED

    def _check_script(self) -> dict[str, Any]:
        """Check the script; the memory that its model needs is only known when the script runs."""
        try:
            compile(self._request.code, choose_script_name(self._request.file_name), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            self._update_record(metadata={"extraction_result": {"status": "failed"}})
            raise Ended(RunOutcome("failed", reason=f"the code cannot be compiled: {error}")) from None
        return {"status": "completed"}

    async def _try_profile(self, profile: str) -> Row:
        request = StreamingExecutionRequest(**self._request.model_dump(), execution_type=profile)
        run = self._runs.start(PythonRun, request, self._caller, parent_execution_id=self.id)
        await self._wait_for(run.task)
        if self._verdict.done():
            outcome, gracefully = self._verdict.result()
            run.end(outcome, gracefully=gracefully)
            await run.task
            raise Ended(outcome)
        return _build_profile_row(self._runs.records.read_facts(run.id))


_NONE_SUCCEEDED = RunOutcome("failed", reason="the code failed on every machine type")


def _build_profile_row(facts: Facts) -> Row:
    return {
        "profile": facts["hardware_profile"],
        "status": "success" if facts["status"] == "completed" else facts["status"],
        "execution_id": facts["execution_id"],
        "execution_time": compute_run_seconds(facts),
        "cost": float(facts["billed"]),
        "runtime_report": None,
    }


def select(rows: list[Row]) -> dict[str, Any]:
    """Return the table of all tries, and the winners among the successful tries.

    The best try has the smallest product of time and cost.
    """
    metrics = {row["profile"]: _build_metrics(row) for row in rows}
    good = [row for row in rows if _has_succeeded(row)]
    if not good:
        return {"metrics": metrics}
    orders = {
        "best": lambda row: row["execution_time"] * row["cost"],
        "fastest": lambda row: row["execution_time"],
        "cheapest": lambda row: row["cost"],
    }
    return {**{name: min(good, key=order)["profile"] for name, order in orders.items()}, "metrics": metrics}


def _build_metrics(row: Row) -> Row:
    minutes, seconds = divmod(round(row["execution_time"]), 60)
    return {
        "status": "OK" if _has_succeeded(row) else row["status"].upper(),
        "time": row["execution_time"],
        "htime": f"{minutes}:{seconds:02}",
        "cost": row["cost"],
        "is_per_epoch": False,
    }


def _has_succeeded(row: Row) -> bool:
    return bool(row["status"] == "success")
