/** The header of a run: data saved in an output, corrected by the server's data. */
import { PartialJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { Bill, costWords, NO_BILL } from './bill';
import type { RunRow } from './cloudTypes';
import { Curve, savedCurves } from './components/scalars';
import { duration } from './format';
import { thisSecond } from './serverClock';
import { computeRowBill, hasEnded, Receipt, receiptIn, RUN_MIME, stateLabel } from './runs';
import { trans, unturned } from './trans';

/** Milliseconds for which data of the kernel overrides the lists, which arrive later. */
const FRESH = 15_000;

/** Milliseconds without an answer before the header shows the silence. */
const PATIENCE = 5000;

/** A run as saved in an output. The notebook may come from a stranger, so each value is checked. */
export interface SavedRun extends Omit<Receipt, 'execution_id'> {
  id: string | null;
  /** Name of the run among runs that were started together; empty for a single run. */
  name: string;
  /** Name of the session if the output is of a cell in a session, whose run continues after the cell; else empty. */
  session: string;
  pricePerHour: number | null;
  limit: number | null;
  /** Seconds since the last answer of the cloud to the kernel; null if the cloud answers. */
  silentSeconds: number | null;
  /** The first log lines that the output of the cell shows, and the last; 0 if the output shows no log. */
  logLines: number;
  /** The newest log lines that the output of a run in the background shows; 0 if the output shows no log. */
  logTail: number;
  /** Short texts on the state, such as the packages being installed or the distance to a limit. */
  details: string[];
  notes: string[];
  /** Whether the run is a Jupyter server, which has no log to follow. */
  isServer: boolean;
  /** The numbers that the run prints repeatedly. */
  curves: Curve[];
}

/** Return the run saved in an output; null if the output contains other data. */
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
    session: typeof fields.session === 'string' ? unturned(fields.session) : '',
    pricePerHour: numberIn(fields.price_per_hour),
    limit: numberIn(fields.time_limit_seconds),
    silentSeconds: numberIn(fields.silent_seconds),
    logLines: numberIn(fields.log_lines) ?? 0,
    logTail: numberIn(fields.log_tail) ?? 0,
    details: words(fields.told),
    notes: words(fields.notes),
    isServer: fields.kind === 'server',
    curves: savedCurves(fields.curves)
  };
}

/** Return the runs that were started together, as saved in an output; null if the output contains other data. */
export function savedRuns(data: unknown): { head: string; runs: SavedRun[]; notes: string[] } | null {
  const { head, runs, notes } = (data ?? {}) as Record<string, unknown>;
  if (typeof head !== 'string' || !Array.isArray(runs)) {
    return null;
  }
  return { head: unturned(head), runs: runs.map(savedRun).filter(run => run !== null), notes: words(notes) };
}

/** Return the number of log lines that an output links to; null without such a link. */
export function hiddenLines(data: unknown): { id: string; count: number } | null {
  const receipt = receiptIn({ lk_jupyter: data });
  const count = (data as { hidden_lines?: unknown } | null)?.hidden_lines;
  return receipt && typeof count === 'number' ? { id: receipt.execution_id, count } : null;
}

/** Return the words for a silence of the cloud. */
export function silenceLabel(seconds: number): string {
  return trans.__('No answer for %1', clock(seconds));
}

/** Return the words that replace the cost of an active run while the cloud is silent. */
export const costUnknown = () => trans.__('cost unknown since then');

export type Tone = 'waiting' | 'running' | 'done' | 'failed' | 'stopped' | 'unsure';

export interface Header {
  id: string | null;
  name: string;
  tone: Tone;
  label: string;
  machine: string;
  pricePerHour: number | null;
  bill: Bill;
  /** Seconds of waiting so far; null if the run doesn't wait or the time is unknown. */
  waited: number | null;
  limit: number | null;
  ended: boolean;
  /** Whether the label is a clock, which a screen reader must not read each second. */
  isSilent: boolean;
  details: string[];
  notes: string[];
  curves: Curve[];
}

/** A run on the server: null if the server doesn't have the run, undefined if nothing is known yet. */
export type ServerRun = RunRow | null | undefined;

/**
 * Build the header of a run. `isLive`: the cell is active. `since`: time of the last write to the output. `silent`:
 * time since which no server answers.
 */
export function buildHeader(
  saved: SavedRun,
  run: ServerRun,
  at: { now: number; second: number; isLive: boolean; since: number; silent: number | null }
): Header {
  const isFresh = at.isLive || at.now - at.since < FRESH;
  const savedEnded = hasEnded({ status: saved.state });
  const isAhead = run && (savedEnded ? run.isActive : rank(saved.state) > rank(run.state) && run.isActive);
  const isVague = run?.state === 'ended' && (savedEnded || at.isLive); // only the kernel shows the cause
  const row = run && !(isFresh && isAhead) && !isVague ? run : null;
  const { state } = row ?? saved;
  const ended = row ? !row.isActive : savedEnded;
  const common = {
    id: saved.id,
    name: saved.name,
    machine: row?.machine || saved.machine || '',
    pricePerHour: row?.pricePerHour ?? saved.pricePerHour,
    limit: saved.limit,
    details: ended && !saved.session ? [] : saved.details,
    isSilent: false,
    notes: saved.notes,
    curves: saved.curves
  };
  const bill = mostCertain(row ? computeRowBill(row, at.second) : NO_BILL, billIn(saved));
  const figures = { bill, ended, waited: null };
  if (!ended && !isFresh && saved.session) {
    const notes = [trans.__('This output is no longer updated. List sessions: %1', '%lk_sessions')];
    return { ...common, ...figures, tone: 'unsure', label: trans.__('Unknown'), bill: NO_BILL, details: [], notes };
  }
  if (!ended && !isFresh && (run === null || !saved.id)) {
    const notes = saved.id
      ? [trans.__("The server that you use doesn't have this run. Sign in to the server that started it.")]
      : [
          trans.__(
            "The cloud didn't answer the request that starts the run, so the run may be active. List runs: %1",
            '%lk_runs'
          )
        ];
    return { ...common, ...figures, tone: 'unsure', label: trans.__('Unknown'), bill: NO_BILL, details: [], notes };
  }
  const isWritten = at.isLive && at.now - at.since < PATIENCE; // the kernel reads the cloud too
  const silence = isFresh && saved.silentSeconds !== null ? saved.silentSeconds : isWritten ? null : silentFor(at);
  if (!ended && (silence !== null || (saved.state === 'reconnecting' && isFresh))) {
    const label = silence === null ? trans.__('Reconnecting') : silenceLabel(silence);
    const details = [silence === null ? trans.__('the run is still active; its cost is unknown') : costUnknown()];
    return { ...common, ...figures, isSilent: silence !== null, tone: 'unsure', label, bill: NO_BILL, details };
  }
  if (ended) {
    return { ...common, ...figures, tone: finalTone(state), label: label(state) };
  }
  const isBilled = bill.seconds !== null || state === 'running';
  const waited = isBilled || !row ? null : at.second - (row.submittedAt ?? row.created);
  return { ...common, ...figures, waited, tone: isBilled ? 'running' : 'waiting', label: label(state) };
}

/** Return the seconds since which no server answers; null while a server answers, or in the first seconds. */
export function silentFor({ now, silent }: { now: number; silent: number | null }): number | null {
  return silent !== null && now - silent > PATIENCE ? (now - silent) / 1000 : null;
}

/** Format seconds as a clock: 0:42, 12:05, 1:02:03. */
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

/** Return the rank of an active state: a later state has a higher rank. */
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

/** Return the more certain bill: the server's bill, unless it lacks a figure. */
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

/** Return the text of an output, which may be stored as lines. */
export const textIn = (text: unknown) => (Array.isArray(text) ? text.join('') : typeof text === 'string' ? text : '');

/** Tone → sign, same as in Python. */
const SIGNS: Record<Tone, string> = { waiting: '◌', running: '●', done: '✓', failed: '✗', stopped: '■', unsure: '◌' };

/** The log below a header: not continued by this page, continued, or continued without its newer figures. */
export type LogState = 'stopped' | 'continued' | 'without figures';

function formsNote(run: RunRow | null, log: LogState, attach: string): string {
  if (!run) {
    return trans.__("The server that you use doesn't have this run. Sign in to the server that started it.");
  }
  if (log === 'without figures') {
    return trans.__("Some newer outputs can't be shown on this page. Show the complete output: %1", attach);
  }
  if (log === 'continued') {
    return '';
  }
  return run.isActive
    ? trans.__('This output is no longer updated. Follow the run: %1', attach)
    : trans.__('The newest output is missing. Show the complete output: %1', attach);
}

/** The data of an output that no kernel updates, and its metadata: the receipt of an ended run. */
export interface Forms {
  data: PartialJSONObject;
  metadata: PartialJSONObject;
}

/**
 * Split the forms of an ended run as the kernel does: a heading above the log, and the receipt as the last output, which
 * our style hides. Return null for an active run.
 */
export function splitReceipt({ data, metadata }: Forms) {
  if (!metadata.lk_jupyter) {
    return null;
  }
  const facts = textIn(data['text/plain']).split('\n')[0].split(' · ');
  const words = `${facts[0]} · ${facts.at(-1)}`;
  const html = Object.assign(document.createElement('div'), { textContent: words }).outerHTML;
  const receipt = {
    'text/plain': data['text/plain'],
    'text/html': `<div class="lk-receipt">${textIn(data['text/html'])}</div>`
  };
  return {
    heading: { data: { [RUN_MIME]: data[RUN_MIME], 'text/plain': words, 'text/html': html }, metadata: {} },
    output: { output_type: 'display_data', data: receipt, metadata }
  };
}

/** Build the data of an output that no kernel updates: run, text and HTML, and receipt. */
export function buildForms(
  saved: SavedRun,
  run: Exclude<ServerRun, undefined>,
  before: ReadonlyPartialJSONObject,
  log: LogState
): Forms {
  const data = before[RUN_MIME] as PartialJSONObject;
  const short = saved.id!.slice(0, 8);
  const machine = textIn(before['text/plain']).split('\n')[0].split(' · ')[1] ?? '';
  const current = run ?? { state: 'unknown', isActive: true };
  const sign =
    SIGNS[current.isActive ? (current.state === 'running' ? 'running' : 'waiting') : finalTone(current.state)];
  const bill = run && !run.isActive ? computeRowBill(run, thisSecond()) : null;
  const note = saved.isServer && run ? '' : formsNote(run, log, `%lk_attach ${short}`);
  const notes = saved.isServer && current.isActive && run ? saved.notes : note ? [note] : [];
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
  const strong = document.createElement('strong');
  box.setAttribute('role', 'status');
  strong.textContent = state;
  const below = notes.map(text => Object.assign(document.createElement('div'), { textContent: text }));
  box.append(`${sign} `, strong, ...facts.map(fact => ` · ${fact}`), ...below);
  return {
    data: {
      [RUN_MIME]: { ...receipt, notes },
      'text/plain': [[`${sign} ${state}`, ...facts].join(' · '), ...notes.map(text => `  ${text}`)].join('\n'),
      'text/html': box.outerHTML
    },
    metadata: run && !run.isActive ? { lk_jupyter: receipt } : {}
  };
}
