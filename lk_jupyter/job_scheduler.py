"""jupyter-scheduler on the cloud: Lab's form "Create job" runs a notebook on a machine that the user selects.

jupyter-scheduler is not a dependency of the package: only its configuration names this module.
"""

from __future__ import annotations

import atexit
import signal
from glob import escape
from itertools import chain
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
from jupyter_scheduler.environments import EnvironmentManager, EnvironmentRetrievalError
from jupyter_scheduler.executors import ExecutionManager
from jupyter_scheduler.models import CreateJob, JobFeature, RuntimeEnvironment, Status
from jupyter_scheduler.orm import Job
from jupyter_scheduler.parameterize import add_parameters
from jupyter_scheduler.scheduler import Scheduler
from jupyter_scheduler.utils import get_utc_timestamp

from lk_jupyter._python import IsolatedSpawn
from lk_jupyter.errors import LkError, RunFailed
from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.machines.default import default_machine
from lk_jupyter.options.calls import check_call
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.runs.monitor import RunMonitor
from lk_jupyter.runs.notebooks.notebook import prepare_notebook
from lk_jupyter.runs.observers.results import executed_notebook_observers
from lk_jupyter.runs.start_key import find_started, start_with_key
from lk_jupyter.session import current

#: Formats of the executed notebook, with the names in the form.
_FORMATS = {"ipynb": "Notebook", "html": "HTML"}

#: States of jobs whose process may have ended with the server.
_ACTIVE = (Status.CREATED, Status.QUEUED, Status.IN_PROGRESS)


class LkEnvironments(EnvironmentManager):  # type: ignore[misc]  # jupyter-scheduler has no types
    """The machine types of the cloud, as compute types of one environment.

    Example:
        >>> c.SchedulerApp.environment_manager_class = "lk_jupyter.job_scheduler.LkEnvironments"  # doctest: +SKIP
    """

    def list_environments(self) -> list[RuntimeEnvironment]:
        """Return the environment. Raises EnvironmentRetrievalError without an answer of the cloud."""
        try:
            session = current()
            machines = session.machines()
            labels = {
                machine.hardware_profile: f"{machine.hardware_profile} ({price_label(machine)})"
                for machine in filter(machines.allows, machines)
            }
            selected = labels.get(machines.resolve(default_machine(machines)).hardware_profile)
        except LkError as error:
            raise EnvironmentRetrievalError(str(error)) from None
        environment = RuntimeEnvironment(
            name="lk",
            label="GPU cloud",
            description="Each job is a run, billed by the second.",
            file_extensions=["ipynb"],
            output_formats=list(_FORMATS),
            metadata={},
            compute_types=list(labels.values()),
            default_compute_type=selected,
        )
        return [environment]

    def manage_environments_command(self) -> str:
        """Return an empty command: packages are requirements of the notebook."""
        return ""

    def output_formats_mapping(self) -> dict[str, str]:
        """Return format → name in the form."""
        return _FORMATS


class LkExecutionManager(ExecutionManager):  # type: ignore[misc]
    """Execute the notebook of a job in a run. Another process for the same job continues with the same run."""

    def before_start(self) -> None:
        """Record the start of the job, unless an earlier process of the job recorded the start."""
        if self.model.start_time is None:
            super().before_start()

    def execute(self) -> None:
        """Start the run unless it is started, wait for its end, and write the executed notebook.

        Raises:
            UsageError: The notebook doesn't fit. Nothing was sent.
            RunFailed: The run failed, such as in a cell. The cells before have their outputs.
            RunAborted: The run was aborted.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal of Jupyter must not abort the run
        job, path = self.model, Path(self.staging_paths["input"])
        book = nbformat.read(path, as_version=4)
        book = add_parameters(book, job.parameters) if job.parameters else book
        machine = (job.compute_type or "").partition(" ")[0]
        executed = path.with_name(f".{path.stem}.executed.ipynb")
        options = {"notebook": str(path), "output": str(executed), "name": job.name or path.name}
        options |= {"machine": machine} if machine else {}
        if job.package_input_folder:
            options["files"] = [*map(escape, job.packaged_files)]
        session, content = current(), nbformat.writes(book).encode()
        bundle = prepare_notebook(session, check_call("session.run_notebook", options), content)
        run = start_with_key(session, bundle, self.job_id)
        (observer,) = executed_notebook_observers(None, bundle)
        for item in chain.from_iterable(RunMonitor(run).start().batches()):
            if isinstance(item, Frame):
                observer.saw(item)
        run.wait_aside()
        if executed.exists():
            book = nbformat.read(executed, as_version=4)
            executed.unlink()
            self._write_outputs(book)
            if error := next(iter(_list_errors(book)), ""):
                raise RunFailed(f"Run {run.short_id}: {error}", execution_id=run.execution_id)
        run.result()

    def _write_outputs(self, book: Any) -> None:
        for name in self.model.output_formats:
            exporter: Any = nbconvert
            text, _ = exporter.get_exporter(name)().from_notebook_node(book)
            Path(self.staging_paths[name]).write_text(text, encoding="utf-8")

    @staticmethod
    def validate(manager: type[ExecutionManager], input_path: str) -> bool:  # noqa: ARG004 (as the scheduler calls it)
        """Return True: a run needs no kernel of this machine."""
        return True

    def on_failure(self, e: Exception) -> None:
        """Record the error and the time, except for a job that a user has stopped."""
        with self.db_session() as session:
            job = session.query(Job).filter(Job.job_id == self.job_id).one()
            if job.status in {Status.STOPPED, Status.STOPPING}:
                return
            job.end_time = get_utc_timestamp()
            session.commit()
        super().on_failure(e)

    @classmethod
    def supported_features(cls) -> dict[JobFeature, bool]:
        """Return the features of the form."""
        supported = {JobFeature.job_name, JobFeature.output_formats, JobFeature.stop_job, JobFeature.delete_job}
        return {feature: feature in supported for feature in JobFeature}


def _list_errors(book: Any) -> list[str]:
    """Return the errors of the cells of an executed notebook."""
    outputs = chain.from_iterable(cell.get("outputs", []) for cell in book.cells)
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


class LkScheduler(Scheduler):  # type: ignore[misc]
    """Run jobs on the cloud. After a restart of Jupyter, active jobs continue with their runs.

    Example:
        >>> c.SchedulerApp.scheduler_class = "lk_jupyter.job_scheduler.LkScheduler"  # doctest: +SKIP
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execution_manager_class = LkExecutionManager
        self._continue_jobs()
        atexit.register(self._end_processes)

    def create_job(self, model: CreateJob) -> str:
        """Create a job, start its process, and return its id. The job is queued until its process is ready."""
        with IsolatedSpawn():
            job_id: str = super().create_job(model)
        with self.db_session() as session:
            waiting = session.query(Job).filter(Job.job_id == job_id, Job.start_time.is_(None))
            waiting.update({"status": Status.QUEUED})
            session.commit()
        return job_id

    def stop_job(self, job_id: str) -> None:
        """Stop a job and abort its run. Raises an LkError if the run may still be active."""
        with self.db_session() as session:  # the process of a queued job is ended too
            queued = session.query(Job).filter(Job.job_id == job_id, Job.status == Status.QUEUED)
            queued.update({"status": Status.IN_PROGRESS})
            session.commit()
        super().stop_job(job_id)
        run = find_started(current(), job_id)
        if run is not None:
            run.abort()

    def _continue_jobs(self) -> None:
        """Start a process for each job whose process ended with the server: it finds the run of the job."""
        with self.db_session() as session:
            for job in session.query(Job).filter(Job.status.in_(_ACTIVE)):
                manager = self.execution_manager_class(
                    job_id=job.job_id,
                    staging_paths=self.get_staging_paths(self.get_job(job.job_id, job_files=False)),
                    root_dir=self.root_dir,
                    db_url=self.db_url,
                )
                process = get_context("spawn").Process(target=manager.process)
                with IsolatedSpawn():
                    process.start()
                job.pid = process.pid
            session.commit()

    def _end_processes(self) -> None:
        """End the processes of active jobs, for which Python would wait. The next server continues with the runs."""
        with self.db_session() as session:
            active = {pid for (pid,) in session.query(Job.pid).filter(Job.status.in_(_ACTIVE))}
        for process in active_children():
            if process.pid in active:
                process.terminate()
