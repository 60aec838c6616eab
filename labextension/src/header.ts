/** What the header of a run says: what its output keeps, put right by what the server knows. */
import { PartialJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { Bill, costWords, NO_BILL } from './bill';
import type { RunRow } from './cloudTypes';
import { duration } from './format';
import { thisSecond } from './serverClock';
import { computeRowBill, hasEnded, Receipt, receiptIn, RUN_MIME, stateLabel } from './runs';
import { trans, unturned } from './trans';

/** Milliseconds that what a kernel wrote goes before what the lists say, which are heard later. */
const FRESH = 15_000;

/** Milliseconds without an answer after which that is said. */
const PATIENCE = 5000;

/** What an output keeps of a run. Somebody may have sent the notebook: it is data, of the kinds that it should be. */
export interface SavedRun extends Omit<Receipt, 'execution_id'> {
  id: string | null;
  /** What tells it from those that were started with it; empty for a run alone. */
  name: string;
  pricePerHour: number | null;
  limit: number | null;
  /** What is told of it in words: what is installed, how a limit stands. */
  details: string[];
  notes: string[];
}

/** The run that an output keeps; null where it keeps something else. */
export function savedRun(data: unknown): SavedRun | null {
  const fields = (data ?? {}) as Record<string, unknown>;
  const isStarted = fields.execution_id !== undefined;
  const receipt = receiptIn({ lk_jupyter: { ...fields, ...(!isStarted && { execution_id: 'none' }) } });
  if (!receipt || typeof fields.state !== 'string') {
    return null;
  }
  const { execution_id, ...facts } = receipt;
  return {
    ...facts,
    id: isStarted ? execution_id : null,
    name: typeof fields.name === 'string' ? unturned(fields.name) : '',
    pricePerHour: numberIn(fields.price_per_hour),
    limit: numberIn(fields.time_limit_seconds),
    details: words(fields.told),
    notes: words(fields.notes)
  };
}

/** Runs that were started together, as an output keeps them; null where it keeps something else. */
export function savedRuns(data: unknown): { head: string; runs: SavedRun[]; notes: string[] } | null {
  const { head, runs, notes } = (data ?? {}) as Record<string, unknown>;
  if (typeof head !== 'string' || !Array.isArray(runs)) {
    return null;
  }
  return { head: unturned(head), runs: runs.map(savedRun).filter(run => run !== null), notes: words(notes) };
}

/** The lines of a long log that an output stands for; null where it doesn't. */
export function hiddenLines(data: unknown): { id: string; count: number } | null {
  const receipt = receiptIn({ lk_jupyter: data });
  const count = (data as { hidden_lines?: unknown } | null)?.hidden_lines;
  return receipt && typeof count === 'number' ? { id: receipt.execution_id, count } : null;
}

export type Tone = 'waiting' | 'running' | 'done' | 'failed' | 'stopped' | 'unsure';

export interface Header {
  id: string | null;
  name: string;
  tone: Tone;
  label: string;
  machine: string;
  pricePerHour: number | null;
  bill: Bill;
  /** Seconds that it waits already; null where it does not, or nobody knows. */
  waited: number | null;
  limit: number | null;
  ended: boolean;
  details: string[];
  notes: string[];
}

/** What was heard of a run: null where the server doesn't have it, undefined where nothing was heard. */
export type ServerRun = RunRow | null | undefined;

/**
 * Say what a run is: `isLive` is whether its cell is active, `since` when its output was written last, `silent` since
 * when no server answers.
 */
export function buildHeader(
  saved: SavedRun,
  run: ServerRun,
  at: { now: number; second: number; isLive: boolean; since: number; silent: number | null }
): Header {
  const isFresh = at.isLive || at.now - at.since < FRESH;
  const savedEnded = hasEnded({ status: saved.state });
  const isAhead = run && (savedEnded ? run.isActive : rank(saved.state) > rank(run.state) && run.isActive);
  const isVague = run?.state === 'ended' && (savedEnded || at.isLive); // the lists don't tell how, the kernel does
  const row = run && !(isFresh && isAhead) && !isVague ? run : null;
  const state = row ? row.state : saved.state;
  const ended = row ? !row.isActive : savedEnded;
  const common = {
    id: saved.id,
    name: saved.name,
    machine: row?.machine || saved.machine || '',
    pricePerHour: row?.pricePerHour ?? saved.pricePerHour,
    limit: saved.limit,
    details: ended ? [] : saved.details,
    notes: saved.notes
  };
  const bill = mostCertain(row ? computeRowBill(row, at.second) : NO_BILL, billIn(saved));
  const figures = { bill, ended, waited: null };
  if (!ended && !isFresh && (run === null || !saved.id)) {
    const notes = saved.id
      ? [trans.__("This server doesn't have the run. Sign in to the server that it was started on.")]
      : [trans.__('Nobody knows whether it was started. List what is active: %1', '%lk_runs')];
    return { ...common, ...figures, tone: 'unsure', label: trans.__('Unknown'), bill: NO_BILL, details: [], notes };
  }
  const isLost = saved.state === 'reconnecting' && isFresh;
  if (!ended && (isLost || (!isFresh && at.silent !== null && at.now - at.silent > PATIENCE))) {
    const label = at.silent
      ? trans.__('No answer for %1', clock((at.now - at.silent) / 1000))
      : trans.__('Reconnecting');
    const details = [trans.__('the run is still active, cost unknown')];
    return { ...common, ...figures, tone: 'unsure', label, bill: NO_BILL, details };
  }
  if (ended) {
    return { ...common, ...figures, tone: finalTone(state), label: label(state) };
  }
  const isBilled = bill.seconds !== null || state === 'running';
  const waited = isBilled || !row ? null : at.second - (row.submittedAt ?? row.created);
  return { ...common, ...figures, waited, tone: isBilled ? 'running' : 'waiting', label: label(state) };
}

/** Seconds as a clock shows them: 0:42, 12:05, 1:02:03. */
export function clock(seconds: number): string {
  const total = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (part: number) => String(part).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const SUCCEEDED = new Set(['completed', 'success']);
const STOPPED = new Set(['aborted', 'cancelled', 'ended']);

function finalTone(state: string): Tone {
  return SUCCEEDED.has(state) ? 'done' : STOPPED.has(state) ? 'stopped' : 'failed';
}

/** How far a run is, of those that have not ended. */
function rank(state: string): number {
  return ['submitting', 'attaching', 'unknown'].includes(state)
    ? 0
    : ['pending', 'queued'].includes(state)
      ? 1
      : ['running', 'reconnecting', 'stopping'].includes(state)
        ? 3
        : 2;
}

function label(state: string): string {
  const words = stateLabel(state);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function billIn({ seconds, cost, cost_is }: SavedRun): Bill {
  return {
    seconds: seconds ?? null,
    cost: cost === undefined ? null : Number(cost),
    costIs: cost === undefined ? null : (cost_is ?? 'estimated')
  };
}

/** A bill of the server goes first, unless it has no figure. */
function mostCertain(current: Bill, saved: Bill): Bill {
  const isBilled = saved.costIs === 'billed' && current.costIs !== 'billed';
  return { ...(current.cost === null || isBilled ? saved : current), seconds: current.seconds ?? saved.seconds };
}

function numberIn(value: unknown): number | null {
  const parsed = typeof value === 'number' || typeof value === 'string' ? Number(value) : NaN;
  return Number.isFinite(parsed) ? parsed : null;
}

function words(value: unknown): string[] {
  const texts = Array.isArray(value) ? value.filter((word): word is string => typeof word === 'string' && !!word) : [];
  return texts.map(unturned);
}

/** Text of an output, which may be kept as lines. */
export const textIn = (text: unknown) => (Array.isArray(text) ? text.join('') : typeof text === 'string' ? text : '');

/** A state as a letter, as Python writes it. */
const SIGNS: Record<Tone, string> = { waiting: '◌', running: '●', done: '✓', failed: '✗', stopped: '■', unsure: '◌' };

/** What is saved of a run that no kernel updates: its data, its line as text and HTML, and its receipt. */
export function buildForms(saved: SavedRun, run: Exclude<ServerRun, undefined>, before: ReadonlyPartialJSONObject) {
  const data = before[RUN_MIME] as PartialJSONObject;
  const short = saved.id!.slice(0, 8);
  const machine = textIn(before['text/plain']).split('\n')[0].split(' · ')[1] ?? '';
  const current = run ?? { state: 'unknown', isActive: true };
  const sign =
    SIGNS[current.isActive ? (current.state === 'running' ? 'running' : 'waiting') : finalTone(current.state)];
  const bill = run && !run.isActive ? computeRowBill(run, thisSecond()) : null;
  const note = !run
    ? trans.__("This server doesn't have the run. Sign in to the server that it was started on.")
    : run.isActive
      ? trans.__('This output is no longer updated. Follow the run: %1', `%lk_attach ${short}`)
      : trans.__('Output after the reload is not here. Show all of it: %1', `%lk_attach ${short}`);
  const facts = [
    machine.includes(' at ') && machine,
    bill?.seconds !== null && bill && duration(bill.seconds),
    bill && costWords(bill),
    trans.__('run %1', short)
  ].filter(fact => typeof fact === 'string');
  const receipt = {
    ...data,
    state: current.state,
    ...(bill?.seconds !== null && bill && { seconds: bill.seconds }),
    ...(bill?.cost != null && { cost: String(bill.cost), cost_is: bill.costIs })
  };
  const state = current.state.replace(/_/g, ' ');
  const box = document.createElement('div');
  const [strong, below] = [document.createElement('strong'), document.createElement('div')];
  box.setAttribute('role', 'status');
  strong.textContent = state;
  below.textContent = note;
  box.append(`${sign} `, strong, ...facts.map(fact => ` · ${fact}`), below);
  return {
    data: {
      [RUN_MIME]: { ...receipt, notes: [note] },
      'text/plain': `${[`${sign} ${state}`, ...facts].join(' · ')}\n  ${note}`,
      'text/html': box.outerHTML
    },
    metadata: run && !run.isActive ? { lk_jupyter: receipt } : {}
  };
}
