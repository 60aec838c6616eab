"""The JSON of our own routes, as a page receives it; the source of the TypeScript types."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, Field

from lk_jupyter.api.user import UserOrg, UserStatus
from lk_jupyter.journal.entry import LONGEST_NOTE

State = Literal[
    "signed-out",
    "revoked",
    "unreachable",
    "slow",
    "not-an-api",
    "refused",
    "not-allowed",
    "bad-request",
    "broken",
]


class TroubleContent(BaseModel):
    """A problem, as a state for the page's design and as a line for the user."""

    state: State
    detail: str
    request_id: str | None = None
    retry_after: str | None = None


class StatusContent(BaseModel):
    """The signed-in account; ``state`` is the problem's state if the server didn't report the account."""

    state: State | Literal["signed-in"]
    detail: str = ""
    base_url: str
    is_local: bool
    server_source: str = Field("", description="Setting or variable that contains the address.")
    key_source: str = Field("", description="Setting or variable that contains the key.")
    organization_asked: str | None = Field(None, description="Slug in requests; empty for the account's default.")
    user: UserStatus | None = None
    organization: UserOrg | None = None
    balance_path: str | None = Field(None, description="Goes behind lk/api/.")
    ahead: float = Field(0, description="Seconds by which the clock of the API is ahead of the Jupyter server's.")
    said: list[str] = Field([], description="Result of signing in or out, and the setting that overrides it.")


class SignInBody(BaseModel):
    """A key to check and store; without an address, for the configured server."""

    api_key: str = Field(repr=False)
    base_url: str | None = None


class OrganizationBody(BaseModel):
    """The organization to act as; None for the account's default."""

    slug: str | None


class LocalCloudContent(BaseModel):
    """The local cloud of this machine."""

    installed: bool
    running: bool
    base_url: str | None = None


class StartQuestion(BaseModel):
    """A kernel that waits for permission to start a machine; prices in credits, as decimal text."""

    id: str
    name: str
    machine: str
    notebook: str = Field(description="Name of the file; empty for a kernel without one.")
    price_per_hour: str | None
    highest_cost: str | None
    idle_minutes: float = Field(description="Release the machine after this number of minutes without work.")


class StartQuestionList(BaseModel):
    """All kernels that wait, as the web socket sends the list."""

    questions: list[StartQuestion]


class StartAnswer(BaseModel):
    """The answer of a user."""

    id: str
    start: bool


class MachineRow(BaseModel):
    """A machine as a row of a picker, in words; prices in credits."""

    profile: str
    gpu: str
    memory_gib: str
    gpus: str
    vcpus: str
    ram_gib: str
    price_per_hour: str
    worst: str = Field(description="Cost of a run that reaches its time limit.")
    allowed: str
    free: str


class MachinesContent(BaseModel):
    """The machines that match a wish; ``rows`` is None for a wish that can't be parsed, ``problem`` is the reason."""

    rows: list[MachineRow] | None
    total: str
    problem: str
    cheapest: str | None = Field(description="Machine type of the cheapest available match.")
    none_fits: str = Field(description="Reason if no machine matches.")
    default: str = Field(description="Machine of runs without --gpu and --machine.")
    default_timeout: int = Field(description="Time limit in seconds of runs without --timeout.")


class BurningThing(BaseModel):
    """Something that is billed by the hour now; credits are decimal text, None where the price is not known."""

    kind: str
    id: str
    name: str
    hardware: str
    state: str
    per_hour: str | None
    end: str = Field("", description="The stated end of a VM or a deployment, and who enforces it.")


class BurnRateContent(BaseModel):
    """The cost per hour: the sum of the known prices, and whether all prices are known; ``label`` has both."""

    things: list[BurningThing]
    per_hour: str
    complete: bool
    label: str
    stoppable: int = Field(0, description="Number of active things that a stop of everything stops, billed or not.")
    warnings: list[str] = Field(
        [], description="Lists that couldn't be read, and budgets that VMs and deployments have exceeded."
    )
    overdue: list[str] = Field([], description="VMs of runs from this machine that should be deleted, with their cost.")


class StopPlanContent(BaseModel):
    """What a stop of everything stops; ``notes`` are lists that couldn't be read, and what stays with the reason."""

    things: list[BurningThing]
    question: str = Field(description="The question before the stop, with the cost per hour; empty without things.")
    notes: list[str]


class StopBody(BaseModel):
    """The ids of the things that the page showed, and its user confirmed."""

    ids: list[str]


class StopContent(BaseModel):
    """The outcome of a stop: ``remaining`` may still be active and billed, for the reasons in ``problems``."""

    stopped: list[str]
    problems: list[str]
    remaining: list[BurningThing]
    notes: list[str]


class MachineBody(BaseModel):
    """The machine of runs that name none, from now on."""

    machine: str


class MachineDefault(BaseModel):
    """The machine of runs without ``--machine``, and the sources that override the choice."""

    default: str
    said: list[str]


class RentOffer(BaseModel):
    """A VM or a model to start; the price is in credits per hour, as decimal text."""

    id: str
    label: str
    per_hour: str
    free: bool | None = Field(description="Whether it is available now; None if the cloud doesn't report it.")
    seconds: float = Field(description="Time until the end.")
    end: str = Field(description="Time, end, cost until the end, and who ends it, in words.")


class RentOffers(BaseModel):
    """What can be started, cheapest first, spot VMs last; ``note`` is what a user must know before."""

    offers: list[RentOffer]
    note: str


class RentRequest(BaseModel):
    """The chosen offer, and the price that its user confirmed."""

    offer: str = Field(max_length=300)
    per_hour: Decimal = Field(ge=0, description="Confirmed price in credits; nothing is started at a higher price.")
    seconds: float | None = Field(None, ge=60, le=10**8, description="Confirmed time until the end.")


class Rented(BaseModel):
    """A VM or a deployment that starts."""

    id: str
    name: str


class NewKey(BaseModel):
    """An API key to create."""

    name: str = Field(max_length=255)


class StoredKey(BaseModel):
    """A new API key, whose secret is in a file."""

    name: str
    path: str


class JournalRun(BaseModel):
    """A run that was started on this machine; moments are Unix seconds, credits decimal text."""

    row: int
    execution_id: str | None
    base_url: str
    org: str | None
    notebook: str | None
    cell_id: str | None
    code_hash: str
    line: str = Field(description="First line of its code, without magics, comments and imports.")
    machine: str | None
    price_per_hour: str | None
    options: dict[str, Any]
    labels: list[str]
    run_name: str | None
    created_at: float
    state: str
    going_on: bool
    started_at: float | None
    ended_at: float | None
    seconds: float | None
    cost: str | None
    reason: str
    summary: dict[str, Any]
    group: str | None
    pool: str = Field(
        description="Machines of the run's executor, with their maximum price; empty without an executor."
    )
    note: str = Field(description="Note of the user about the run.")


class JournalContent(BaseModel):
    """Runs, newest first; ``before`` requests the next runs, None at the end."""

    runs: list[JournalRun]
    before: int | None


class JournalCode(BaseModel):
    """The code of a run as the author wrote it, and facts that the cloud doesn't store."""

    code: str
    git_commit: str = Field(description="Commit of the working folder at the start; empty if unknown.")
    labels: list[str]
    note: str = Field(description="Note of the user about the run.")


class RunNote(BaseModel):
    """A new note about a run."""

    note: str = Field(max_length=LONGEST_NOTE)


class StorageItem(BaseModel):
    """A file or a folder of the bucket; a folder's key ends with a slash."""

    key: str
    name: str
    is_folder: bool
    size: int | None = Field(None, description="Bytes.")
    last_modified: datetime | None = None


class StorageContent(BaseModel):
    """A page of a folder, folders first; ``truncated`` if the bucket has more keys in the folder than were read."""

    folder: str
    items: list[StorageItem]
    total: int
    truncated: bool


class StoragePreview(BaseModel):
    """The start of a file: a description, and the first rows or the text."""

    key: str
    written: str
    words: str = Field(description="Description of the file, or the reason for a missing preview.")
    columns: list[tuple[str, str]] = Field([], description="Names and types.")
    rows: list[list[str]] = []
    text: str = ""
    is_part: bool = False
    kind: Literal["table", "value", ""] = Field("", description="Kind of value after loading.")
    remote: str = Field("", description="Path of the file in a run.")


class MoveBody(BaseModel):
    """Source and target of a move; a folder ends with a slash."""

    source: str
    target: str
    overwrite: bool = False
    keep: bool = Field(default=False, description="Copy: the source stays.")


class FolderBody(BaseModel):
    """A folder to make."""

    folder: str


class StorageDone(BaseModel):
    """How many objects that took."""

    objects: int


class StreamOutput(BaseModel):
    """An event of a run: the next piece of output."""

    output: str


class Shown(BaseModel):
    """A change of a run's outputs, in the terms of Jupyter's messages."""

    kind: Literal["display", "update", "clear"]
    id: str | None = Field(None, description="Id of the output to update.")
    number: int | None = Field(None, description="Number of the output in the cell; negative for progress bars.")
    data: dict[str, Any] = Field({}, description="Forms by MIME type.")
    metadata: dict[str, Any] = {}
    wait: bool = Field(default=False, description="Clear the output when the next output arrives.")


class StreamShown(BaseModel):
    """An event of a run: an output other than text."""

    shown: Shown


class CurveContent(BaseModel):
    """The values of a number that a run prints repeatedly; a value that isn't finite is None."""

    name: str
    steps: list[float]
    values: list[float | None]


class StreamCurves(BaseModel):
    """An event of a run: all numbers that its code has printed repeatedly so far."""

    curves: list[CurveContent]


class StreamEnd(BaseModel):
    """How a run ended."""

    return_code: int | None
    error: str | None


class StreamFinished(BaseModel):
    """The end of a run, after which only its last curves are sent."""

    finished: StreamEnd


class RunPage(BaseModel):
    """A run as one HTML file, and the name of the file."""

    name: str
    html: str


class StreamTrouble(BaseModel):
    """The last event of a stream that broke."""

    trouble: TroubleContent
