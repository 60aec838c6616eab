import React, { useState } from 'react';

import { trans } from '../trans';
import { when } from '../words';

/** A run as lists show it. `since` (Unix seconds) counts on while it goes on, and so does its cost. */
export interface RunRow {
  id: string;
  name: string;
  state: string;
  goingOn: boolean;
  machine: string;
  pricePerHour: number | null;
  since: number | null;
  seconds: number | null;
  cost: number | null;
  created: number;
  notebook: string | null;
  cellId: string | null;
}

export interface RunListProps {
  runs: RunRow[];
  now: number;
  duration: (seconds: number) => string;
  credits: (amount: number) => string;
  onOpen: (run: RunRow) => void;
  onAbort: (run: RunRow) => void;
  onRerun: (run: RunRow) => void;
  onGoToCell: (run: RunRow) => void;
}

const STEP = 50;
const SIGNS: Record<string, string> = {
  ended: '■',
  completed: '✓',
  success: '✓',
  aborted: '■',
  cancelled: '■',
  refused: '✗'
};

export function signOf({ state, goingOn }: { state: string; goingOn: boolean }): string {
  return goingOn ? (state === 'running' ? '▶' : '…') : (SIGNS[state] ?? '✗');
}

/** Seconds that a run has taken, and what that costs: as billed, or counted on here while it goes on. */
export function soFar(run: RunRow, now: number): { seconds: number | null; cost: number | null; estimated: boolean } {
  const seconds = run.goingOn ? run.since && Math.max(0, now - run.since) : run.seconds;
  if (run.cost !== null && !run.goingOn) {
    return { seconds, cost: run.cost, estimated: false };
  }
  return { seconds, cost: costOf(seconds, run.pricePerHour), estimated: true };
}

/** What so many seconds cost; null where nobody can tell. */
export function costOf(seconds: number | null, pricePerHour: number | null): number | null {
  return seconds === null || pricePerHour === null ? null : (Math.max(0, seconds) / 3600) * pricePerHour;
}

/** Runs, those that go on first; more are shown when asked for, so that 500 are no slower than 50. */
export function RunList(props: RunListProps) {
  const [wanted, setWanted] = useState('');
  const [most, setMost] = useState(STEP);
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const found = props.runs.filter(run => {
    const text = `${run.name} ${run.state} ${run.machine} ${run.id} ${run.notebook ?? ''}`.toLowerCase();
    return words.every(word => text.includes(word));
  });
  return (
    <>
      {props.runs.length > 5 && (
        <input
          type="search"
          className="lk-find"
          aria-label={trans.__('Find runs')}
          placeholder={trans._n('Find in %1 run', 'Find in %1 runs', props.runs.length)}
          value={wanted}
          onInput={event => setWanted((event.target as HTMLInputElement).value)}
        />
      )}
      {!found.length && (
        <p className="lk-quiet">
          {wanted
            ? trans.__('No run fits.')
            : trans.__('No runs yet. Put %1 on top of a cell, or press Run on ▾.', '%%lk_run --gpu A100')}
        </p>
      )}
      <ul className="lk-list" aria-label={trans.__('Runs')}>
        {found.slice(0, most).map(run => (
          <RunItem key={run.id} run={run} {...props} />
        ))}
      </ul>
      {found.length > most && (
        <button type="button" onClick={() => setMost(most + STEP)}>
          {trans.__('Show %1 more of %2', Math.min(STEP, found.length - most), found.length - most)}
        </button>
      )}
    </>
  );
}

type Of = { run: RunRow };

function RunItem({ run, now, duration, credits, ...on }: RunListProps & Of) {
  const { seconds, cost, estimated } = soFar(run, now);
  const figures = [
    run.machine,
    seconds === null ? null : duration(seconds),
    cost === null ? null : estimated ? trans.__('≈ %1 credits', credits(cost)) : trans.__('%1 credits', credits(cost)),
    run.goingOn ? null : when(run.created, now)
  ];
  return (
    <li className={run.goingOn ? 'lk-going-on' : ''}>
      <button
        type="button"
        className="lk-link"
        title={trans.__('Open the log, metrics and result')}
        onClick={() => on.onOpen(run)}
      >
        <span aria-hidden="true">{signOf(run)} </span>
        {run.name}
      </button>
      <div className="lk-quiet">{[run.state.replace(/_/g, ' '), ...figures.filter(Boolean)].join(' · ')}</div>
      <div className="lk-row lk-small">
        {run.goingOn && (
          <button type="button" aria-label={trans.__('Abort %1', run.name)} onClick={() => on.onAbort(run)}>
            {trans.__('Abort')}
          </button>
        )}
        <CellButtons run={run} onRerun={on.onRerun} onGoToCell={on.onGoToCell} />
      </div>
    </li>
  );
}

/** What can be done with the cell of a run, if it came from one. */
export function CellButtons({ run, onRerun, onGoToCell }: Pick<RunListProps, 'onRerun' | 'onGoToCell'> & Of) {
  if (!run.notebook || !run.cellId) {
    return null;
  }
  return (
    <>
      <button type="button" aria-label={trans.__('Run again the cell of %1', run.name)} onClick={() => onRerun(run)}>
        {trans.__('Run again')}
      </button>
      <button type="button" aria-label={trans.__('Go to cell of %1', run.name)} onClick={() => onGoToCell(run)}>
        {trans.__('Go to cell')}
      </button>
    </>
  );
}
