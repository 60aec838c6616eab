/** The runs of all lists, merged: active runs, runs of this machine with their cells, and billed runs. */
import { Bill, computeBill, CERTAIN, CostIs, NO_BILL } from './bill';
import { CloudData, RunRecords, RunRow } from './cloudTypes';
import { ACTIVE_STATES, FINAL_STATES, UNIQUE_SUFFIX, STATE_LABELS } from './states';
import { moment, unturned } from './format';
import { trans } from './trans';
import { ExecutionRecord, ExecutionSummary, JournalRun, MachineType, StatusContent, Workload } from './types';

/** MIME type of an output that shows a run. */
export const RUN_MIME = 'application/vnd.lk.run+json';

/** Return whether a value can be the id of a run. Ids become lines of cells, and IPython evaluates braces there. */
export const isId = (id: unknown): id is string => typeof id === 'string' && /^[\w-]{1,100}$/.test(id);

/** Return the message for a value that isn't the id of a run. */
export function notAnId(value: unknown): string {
  return trans.__("%1 isn't the id of a run. The panel lists your runs.", JSON.stringify(value));
}

/** Return whether a value can be the name of a machine, which becomes a line of a cell too. */
export const isMachine = (name: unknown): name is string => typeof name === 'string' && /^[\w.:+-]{1,100}$/.test(name);

/** Facts on a run in the metadata of an output. */
export interface Receipt {
  execution_id: string;
  state: string;
  machine?: string;
  seconds?: number;
  cost?: string;
  cost_is?: CostIs;
}

/**
 * Return the receipt in the metadata of an output; null without a receipt, or if a foreign notebook has other data
 * there.
 */
export function receiptIn(metadata: unknown): Receipt | null {
  const saved = (metadata as { lk_jupyter?: Partial<Record<keyof Receipt, unknown>> } | null)?.lk_jupyter;
  if (!isId(saved?.execution_id)) {
    return null;
  }
  const { execution_id, state, machine, seconds, cost, cost_is } = saved;
  return {
    execution_id,
    state: typeof state === 'string' ? state : 'ended',
    machine: isMachine(machine) ? machine : undefined,
    seconds: typeof seconds === 'number' ? seconds : undefined,
    cost: typeof cost === 'string' ? cost : undefined,
    cost_is: CERTAIN.find(kind => kind === cost_is)
  };
}

/** Return the receipts in the metadata of an output: a cell that started several runs has a receipt for each run. */
export function receiptsIn(metadata: unknown): Receipt[] {
  const runs = (metadata as { lk_jupyter?: { runs?: unknown } } | null)?.lk_jupyter?.runs;
  const receipts = Array.isArray(runs)
    ? runs.map(run => receiptIn({ lk_jupyter: run as object }))
    : [receiptIn(metadata)];
  return receipts.filter(receipt => receipt !== null);
}

/** States of a run that has ended, including the state that only the journal has. */
const FINAL = new Set([...FINAL_STATES, 'refused']);

const hasId = ({ execution_id }: { execution_id: string | null }) => isId(execution_id);
/** Return whether a run has ended. In an unknown state, a run with an end time or an exit code has ended. */
export function hasEnded(run: Partial<ExecutionRecord>): boolean {
  const state = (run.status ?? '')
    .trim()
    .toLowerCase()
    .replace(/[\s-]+/g, '_');
  const end = run.end_time ?? run.finish_time ?? run.job_end ?? run.return_code;
  return FINAL.has(state) || (!ACTIVE_STATES.includes(state) && end != null);
}

/** Name of the machine of a session, or of a notebook that keeps its machine. */
const SESSION_NAME = /^session [\w-]{1,40}$/;

/** Return a state as people read it; the stopped machine of a session, by the name of its run, is `released`. */
export function stateLabel(status: string | null | undefined, name?: string): string {
  const state = status ?? '';
  const key = state.toLowerCase();
  if (key === 'cancelled' && SESSION_NAME.test(name ?? '')) return 'released';
  return (Object.hasOwn(STATE_LABELS, key) ? STATE_LABELS[key] : state).replace(/_/g, ' ');
}

/** Return the file name of a run as the author knows it. */
export function plainName(name: string | null | undefined): string {
  return unturned(name ?? '').replace(UNIQUE_SUFFIX, '');
}

/** Return whether a run of the journal belongs to the signed-in server and organization. */
const matchesAccount = (status: StatusContent | undefined) => (run: JournalRun) => {
  const slug = status?.organization?.slug;
  const isServer = !status?.base_url || bare(run.base_url) === bare(status.base_url);
  return isServer && (!slug || !run.org || run.org === slug);
};

const bare = (address: string) => address.replace(/\/{1,9}$/, '');

/** Merge the lists of one server: active runs first, then the newest. */
export function mergeRuns(data: Partial<CloudData> & RunRecords): RunRow[] {
  const { status, running, journal, history, machines, records, newRuns } = data;
  const isAccountRun = matchesAccount(status);
  const prices = pricesByMachine(machines?.machine_types ?? []);
  const ahead = status?.ahead ?? 0;
  const rows = new Map<string, RunRow>();
  const add = (row: RunRow) => rows.set(row.id, { ...rows.get(row.id), ...row });
  history?.executions?.filter(hasId).map(run => add(rowFromRecord(run, prices, ahead)));
  const activeIds = running && new Set(running.map(run => run.execution_id));
  running
    ?.filter(hasId)
    .filter(run => !rows.get(run.execution_id)?.isActive)
    .map(run => add(rowFromWorkload(run, prices, ahead)));
  const journalRuns = journal?.runs?.filter(run => hasId(run) && (rows.has(run.execution_id!) || isAccountRun(run)));
  journalRuns?.map(run => rows.set(run.execution_id!, rowFromJournal(run, rows.get(run.execution_id!))));
  for (const row of rows.values()) {
    if (activeIds && row.isActive && !activeIds.has(row.id) && !newRuns?.has(row.id)) {
      Object.assign(row, { isActive: false, state: 'ended', record: null, storedBill: NO_BILL }); // reason and cost are unknown
    } else if (row.isActive) {
      row.record = records?.get(row.id) ?? row.record;
    }
  }
  return [...rows.values()].sort((a, b) => Number(b.isActive) - Number(a.isActive) || b.created - a.created);
}

/** Compute duration and cost of a run at a moment of the Jupyter server's clock. */
export function computeRowBill({ record, storedBill, pricePerHour, submittedAt }: RunRow, at: number): Bill {
  return record ? computeBill(record, pricePerHour, at, submittedAt) : storedBill;
}

function pricesByMachine(machines: MachineType[]): Map<string, number | null> {
  return new Map(machines.map(machine => [machine.hardware_profile, machine.price_per_hour ?? null]));
}

function rowFromWorkload(run: Workload, prices: Map<string, number | null>, ahead: number): RunRow {
  const machine = run.hardware_profile ?? '';
  const created = moment(run.created_at);
  return {
    id: run.execution_id,
    name: unturned(run.run_name || '') || plainName(run.file_name) || run.execution_id.slice(0, 8),
    runName: unturned(run.run_name || ''),
    line: '',
    score: '',
    note: '',
    reason: '',
    state: (run.status ?? '').toLowerCase(),
    isActive: true,
    machine,
    pricePerHour: prices.get(machine) ?? null,
    submittedAt: created === null ? null : created - ahead,
    record: null,
    storedBill: NO_BILL,
    created: created ?? 0,
    notebook: null,
    cellId: null,
    group: null,
    pool: ''
  };
}

/** Build the row of a run from the history or from a record; the clock of the stamps is `ahead` seconds ahead. */
export function rowFromRecord(
  run: ExecutionSummary | ExecutionRecord,
  prices: Map<string, number | null>,
  ahead = 0
): RunRow {
  const state = (run.status ?? '').toLowerCase();
  const created = moment(run.created_at);
  const machine = run.hardware_profile ?? '';
  return {
    id: run.execution_id,
    name: plainName(run.file_name) || run.execution_id.slice(0, 8),
    runName: '',
    line: '',
    score: '',
    note: '',
    reason: '',
    state,
    isActive: !hasEnded(run),
    machine,
    pricePerHour: prices.get(machine) ?? null,
    submittedAt: created === null ? null : created - ahead,
    record: run,
    storedBill: NO_BILL,
    created: created ?? 0,
    notebook: null,
    cellId: null,
    group: null,
    pool: ''
  };
}

/** Build the row of a run of the journal. The journal overrides a list, except on whether the run has ended. */
function rowFromJournal(run: JournalRun, listed: RunRow | undefined): RunRow {
  const pricePerHour = run.price_per_hour === null ? (listed?.pricePerHour ?? null) : Number(run.price_per_hour);
  return {
    id: run.execution_id!,
    name:
      unturned(run.run_name || '') ||
      fileName(run.notebook) ||
      run.line ||
      listed?.name ||
      run.execution_id!.slice(0, 8),
    runName: unturned(run.run_name || ''),
    line: run.run_name || run.notebook ? run.line : '',
    score: scoreLabel(run.summary),
    note: [...(run.labels ?? []), run.note].filter(Boolean).join(' · '),
    reason: run.reason,
    state: (listed ?? run).state,
    isActive: listed?.isActive ?? run.going_on,
    machine: run.machine ?? listed?.machine ?? '',
    pricePerHour,
    submittedAt: run.created_at,
    record: listed?.record ?? null,
    storedBill: journalBill(run, pricePerHour),
    created: run.created_at,
    notebook: run.notebook,
    cellId: run.cell_id,
    group: run.group,
    pool: run.pool ? unturned(run.pool) : ''
  };
}

/** Return the first score in the figures of a run as text, such as `accuracy 0.96`; empty without a score. */
function scoreLabel(summary: JournalRun['summary'] | undefined): string {
  const [name, score] = Object.entries(summary ?? {}).find(([key, value]) => isScore(key, value)) ?? [];
  return name ? `${unturned(name)} ${Number((score as number).toPrecision(4))}` : '';
}

/** Return whether a figure is a score: other figures measure the GPU. */
function isScore(name: string, value: unknown): boolean {
  return typeof value === 'number' && !name.includes('_gpu_');
}

/** Return the bill of an ended run from the journal. */
function journalBill({ seconds, cost }: JournalRun, pricePerHour: number | null): Bill {
  if (cost !== null) {
    return { seconds, cost: Number(cost), costIs: 'billed' };
  }
  if (seconds === null || pricePerHour === null) {
    return { ...NO_BILL, seconds };
  }
  return { seconds, cost: (seconds / 3600) * pricePerHour, costIs: 'estimated' };
}

function fileName(notebook: string | null): string {
  return notebook?.split('/').pop() ?? '';
}
