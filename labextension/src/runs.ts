/** The runs of all lists as one: those that go on, those of this machine with their cells, those that were billed. */
import { RunRow } from './components/RunList';
import { Heard } from './cloud';
import { FINAL_STATES } from './options';
import { moment } from './words';
import { ExecutionSummary, JournalRun, MachineType, Workload } from './types';

/** States of a run that has ended, that which only the journal knows too. */
const FINAL = new Set([...FINAL_STATES, 'refused']);

/** Join what was heard, newest first, those that go on before all others. */
export function runsOf({ running, journal, history, machines }: Partial<Heard>): RunRow[] {
  const prices = pricesOf(machines?.machine_types ?? []);
  const rows = new Map<string, RunRow>();
  const add = (row: RunRow) => rows.set(row.id, { ...rows.get(row.id), ...row });
  history?.executions.map(run => add(ofHistory(run, prices)));
  const going = running && new Set(running.map(run => run.execution_id));
  running?.filter(run => !rows.get(run.execution_id)?.goingOn).map(run => add(ofWorkload(run, prices)));
  for (const run of journal?.runs ?? []) {
    if (run.execution_id) {
      rows.set(run.execution_id, fromJournal(run, rows.get(run.execution_id)));
    }
  }
  for (const row of rows.values()) {
    if (going && row.goingOn && !going.has(row.id)) {
      Object.assign(row, { goingOn: false, state: 'ended', cost: null }); // how, and what it cost, is not heard yet
    }
  }
  return [...rows.values()].sort((a, b) => Number(b.goingOn) - Number(a.goingOn) || b.created - a.created);
}

function pricesOf(machines: MachineType[]): Map<string, number | null> {
  return new Map(machines.map(machine => [machine.hardware_profile, machine.price_per_hour ?? null]));
}

function ofWorkload(run: Workload, prices: Map<string, number | null>): RunRow {
  const machine = run.hardware_profile ?? '';
  return {
    id: run.execution_id,
    name: run.run_name || run.file_name || run.execution_id.slice(0, 8),
    state: run.status.toLowerCase(),
    goingOn: true,
    machine,
    pricePerHour: prices.get(machine) ?? null,
    since: moment(run.created_at),
    seconds: null,
    cost: null,
    created: moment(run.created_at) ?? 0,
    notebook: null,
    cellId: null
  };
}

function ofHistory(run: ExecutionSummary, prices: Map<string, number | null>): RunRow {
  const [start, end] = [moment(run.start_time ?? run.job_start), moment(run.end_time ?? run.job_end)];
  const state = run.status.toLowerCase();
  return {
    id: run.execution_id,
    name: run.file_name || run.execution_id.slice(0, 8),
    state,
    goingOn: !FINAL.has(state),
    machine: run.hardware_profile,
    pricePerHour: prices.get(run.hardware_profile) ?? null,
    since: start,
    seconds: start !== null && end !== null ? end - start : null,
    cost: run.billed ?? null,
    created: moment(run.created_at) ?? 0,
    notebook: null,
    cellId: null
  };
}

/** What the journal knows of a run goes before what a list says, but not on whether it ended. */
function fromJournal(run: JournalRun, listed: RunRow | undefined): RunRow {
  return {
    id: run.execution_id!,
    name: run.run_name || nameOf(run.notebook) || listed?.name || run.execution_id!.slice(0, 8),
    state: listed?.state ?? run.state,
    goingOn: listed?.goingOn ?? run.going_on,
    machine: run.machine ?? listed?.machine ?? '',
    pricePerHour: run.price_per_hour === null ? (listed?.pricePerHour ?? null) : Number(run.price_per_hour),
    since: run.started_at ?? listed?.since ?? null,
    seconds: run.seconds ?? listed?.seconds ?? null,
    cost: listed?.cost ?? (run.cost === null ? null : Number(run.cost)),
    created: run.created_at,
    notebook: run.notebook,
    cellId: run.cell_id
  };
}

function nameOf(notebook: string | null): string {
  return notebook?.split('/').pop() ?? '';
}
