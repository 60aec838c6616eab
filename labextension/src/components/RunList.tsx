import React, { KeyboardEvent, memo, MouseEvent, useLayoutEffect, useMemo, useRef, useState } from 'react';

import { Bill, costWords } from '../bill';
import { RunRow } from '../cloudTypes';
import { duration, machineName, when } from '../format';
import { clock } from '../header';
import { stateLabel } from '../runs';
import { trans } from '../trans';
import { Icon, IconButton, IconName } from './Icon';
import { cellTitle, groupRuns } from './runGroups';
import { Advice, SLOT } from './Sentence';
import { useWindow } from './useWindow';

/** Callbacks of the actions on a run. */
export interface RunActions {
  onOpen: (run: RunRow) => void;
  onAbort: (run: RunRow) => void;
  onRerun: (run: RunRow) => void;
  onGoToCell: (run: RunRow) => void;
}

export interface RunListProps extends RunActions {
  runs: RunRow[];
  now: number;
  getBill: (run: RunRow, now: number) => Bill;
  /** Return the number of a run's cell in its open notebook; null if the notebook isn't open. */
  getCount: (run: RunRow) => number | null;
  /** Show the menu of a run at a position on the page. */
  onMenu: (run: RunRow, x: number, y: number) => void;
}

/** Height of a row in pixels. */
const HEIGHT = 24;

/** Number of runs from which the list has a search field. */
const MANY = 6;

const DONE = ['completed', 'success'];
const STOPPED = ['aborted', 'cancelled', 'ended'];

function runIcon({ state, isActive }: RunRow): IconName {
  if (isActive) {
    return state === 'running' ? 'running' : 'waiting';
  }
  return DONE.includes(state) ? 'done' : STOPPED.includes(state) ? 'stopped' : 'failed';
}

/** Return the name of the error in a reason; empty without an error. */
export function errorName(reason: string): string {
  return /\b[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b/.exec(reason)?.[0] ?? '';
}

/** Runs in rows, grouped by notebook and cell, active runs first. Only rows in view are in the page. */
export function RunList({ runs, ...rest }: RunListProps) {
  const [query, setQuery] = useState('');
  const matches = useMemo(() => runs.filter(matching(query)), [runs, query]);
  return (
    <>
      {runs.length >= MANY && (
        <input
          type="search"
          className="lk-find"
          aria-label={trans.__('Find runs')}
          placeholder={trans._n('Find in %1 run', 'Find in %1 runs', runs.length)}
          value={query}
          onInput={event => setQuery((event.target as HTMLInputElement).value)}
        />
      )}
      {!matches.length && (
        <p className="lk-quiet">
          {query ? (
            trans.__('No matching runs.')
          ) : (
            <Advice
              text={trans.__('No runs. Start one: put %1 on top of a cell, or click “Run on”.', SLOT)}
              code="%%lk_run --gpu A100"
            />
          )}
        </p>
      )}
      <Rows runs={matches} {...rest} />
    </>
  );
}

function matching(query: string): (run: RunRow) => boolean {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return ({ name, line, state, machine, id, notebook, reason, note }) => {
    const text = [name, line, state, machine, id, notebook, reason, note].join(' ').toLowerCase();
    return words.every(word => text.includes(word));
  };
}

function Rows({ runs, now, getBill, getCount, onMenu, ...on }: RunListProps) {
  const rows = useMemo(() => groupRuns(runs), [runs]);
  const ids = useMemo(() => rows.map(row => (typeof row === 'string' ? '' : row.run.id)), [rows]);
  const places = useMemo(() => new Map(ids.filter(Boolean).map((id, n) => [id, n + 1])), [ids]);
  const hasScores = useMemo(() => runs.some(run => run.score), [runs]);
  const [current, setCurrent] = useState('');
  const { box, first, end } = useWindow(rows.length, HEIGHT);
  const at = Math.max(current ? ids.indexOf(current) : -1, rows.length ? 1 : -1); // the first row is a heading
  const wish = useRef(''); // the run that gets focus once its row is the current row
  useLayoutEffect(() => {
    if (wish.current && wish.current === current) {
      wish.current = '';
      box.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus({ preventScroll: true });
    }
  });
  const go = (to: number) => {
    const step = to < at ? -1 : 1;
    const target = [to, to + step, to - step].find(place => ids[place]);
    if (target !== undefined) {
      wish.current = ids[target] === current ? '' : ids[target];
      setCurrent(ids[target]);
      reveal(box.current!, target);
    }
  };
  const press = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor(box.current!.clientHeight / HEIGHT) - 1);
    const last = rows.length - 1;
    const targets: Record<string, number> = {
      ...{ ArrowDown: Math.min(at + 1, last), ArrowUp: Math.max(at - 1, 0), Home: 0, End: last },
      ...{ PageDown: Math.min(at + page, last), PageUp: Math.max(at - page, 0) }
    };
    if (event.key in targets) {
      go(targets[event.key]);
    } else if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') {
      step(event.currentTarget as HTMLElement, event.key === 'ArrowRight' ? 1 : -1);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  // the row with focus stays in the page while it is scrolled out of view
  const drawn = [...new Set([at, ...Array.from({ length: end - first }, (_, n) => first + n)])].filter(n => rows[n]);
  return (
    <div className="lk-rows" ref={box}>
      {runs.length > 0 && <ColumnNames hasScores={hasScores} />}
      <div role="list" aria-label={trans.__('Runs')} style={{ height: `${rows.length * HEIGHT}px` }} onKeyDown={press}>
        {drawn
          .sort((a, b) => a - b)
          .map(place => {
            const row = rows[place];
            const where = {
              ...{ 'aria-posinset': places.get(ids[place]), 'aria-setsize': runs.length },
              top: place * HEIGHT
            };
            return typeof row === 'string' ? (
              <Heading key={row} words={row} top={where.top} />
            ) : (
              <RunItem
                key={row.run.id}
                run={row.run}
                isFirst={row.isFirst}
                count={row.isFirst ? getCount(row.run) : null}
                hasScores={hasScores}
                isCurrent={place === at}
                bill={getBill(row.run, now)}
                started={when(row.run.created, now)}
                onCurrent={setCurrent}
                onMenu={onMenu}
                {...on}
                {...where}
              />
            );
          })}
      </div>
    </div>
  );
}

/** Names of the columns. The rows read aloud have the units. */
function ColumnNames({ hasScores }: { hasScores: boolean }) {
  return (
    <div className="lk-run-columns" aria-hidden="true">
      <span className="lk-run-machine">{trans.__('Machine')}</span>
      <span className="lk-run-time">{trans.__('Time')}</span>
      <span className="lk-run-cost">{trans.__('Credits')}</span>
      {hasScores && <span className="lk-run-score">{trans.__('Score')}</span>}
    </div>
  );
}

type Where = { 'aria-posinset'?: number; 'aria-setsize': number; top: number };

function Heading({ words, top }: { words: string; top: number }) {
  return (
    <div role="presentation" className="lk-day" style={{ top: `${top}px` }} title={words}>
      {words}
    </div>
  );
}

/** Scroll a row into view. */
function reveal(box: HTMLElement, place: number): void {
  const top = place * HEIGHT;
  const most = place === 1 ? 0 : top; // include the heading above the first row
  box.scrollTop = Math.min(most, Math.max(box.scrollTop, top + 2 * HEIGHT - box.clientHeight)); // with the columns' names
}

/** Move focus to another button of the row with focus. */
function step(list: HTMLElement, by: number): void {
  const focused = list.ownerDocument.activeElement;
  const buttons = [...(focused?.closest('[role="listitem"]')?.querySelectorAll('button') ?? [])];
  buttons[buttons.indexOf(focused as HTMLButtonElement) + by]?.focus();
}

type RunItemProps = RunActions &
  Where & {
    run: RunRow;
    isFirst: boolean;
    count: number | null;
    hasScores: boolean;
    isCurrent: boolean;
    bill: Bill;
    started: string;
    onCurrent: (id: string) => void;
    onMenu: RunListProps['onMenu'];
  };

const RunItem = memo(function RunItem({
  run,
  isFirst,
  count,
  hasScores,
  isCurrent,
  bill,
  started,
  top,
  onCurrent,
  onMenu,
  ...rest
}: RunItemProps) {
  const { onOpen, onAbort, onRerun, onGoToCell, ...where } = rest;
  const error = run.isActive ? '' : errorName(run.reason);
  const [time, cost] = [bill.seconds === null ? '' : duration(bill.seconds), costWords(bill) ?? ''];
  const title = isFirst ? cellTitle(run, count) : (run.group && run.runName) || started;
  const facts = [
    stateLabel(run.state, run.runName || run.name),
    machineName(run.machine),
    time,
    cost,
    run.score,
    started
  ].filter(Boolean);
  const menu = (event: MouseEvent) => {
    event.preventDefault();
    event.stopPropagation();
    const { x, bottom } = event.currentTarget.getBoundingClientRect();
    onMenu(run, event.clientX || x, event.clientY || bottom); // a press of the menu key has no position
  };
  const icon = runIcon(run);
  const who = `${run.name} (${run.id.slice(0, 8)})`; // many runs have the name of the same notebook
  return (
    <div
      role="listitem"
      className={`lk-run lk-run-${icon}`}
      style={{ top: `${top}px` }}
      onFocus={() => onCurrent(run.id)}
      onContextMenu={menu}
      {...where}
    >
      <button
        type="button"
        className="lk-run-name"
        tabIndex={isCurrent ? 0 : -1}
        title={[`${run.name} · ${facts.join(' · ')}`, run.line, run.reason, run.note].filter(Boolean).join('\n')}
        onClick={() => onOpen(run)}
      >
        <Icon name={icon} />
        <span className={isFirst ? 'lk-run-title' : 'lk-run-title lk-run-again'}>{title}</span>
        {isFirst && run.runName && run.line && <code className="lk-run-line">{run.line}</code>}
        {error && <span className="lk-run-error">{error}</span>}
        <span className="lk-unseen">{`, ${[run.name, ...facts, run.id.slice(0, 8)].join(', ')}`}</span>
      </button>
      <span className="lk-run-facts" aria-hidden="true">
        <span className="lk-run-machine">{machineName(run.machine)}</span>
        <span className="lk-run-time">{bill.seconds === null ? '' : clock(bill.seconds)}</span>
        <span className="lk-run-cost">{bareCost(bill)}</span>
        {hasScores && <span className="lk-run-score">{run.score.split(' ').pop()}</span>}
      </span>
      <span className="lk-run-actions">
        {run.isActive && (
          <IconButton icon="stopped" name={trans.__('Abort %1', who)} tabIndex={-1} onClick={() => onAbort(run)} />
        )}
        {run.notebook && run.cellId && (
          <>
            <IconButton icon="rerun" name={trans.__('Rerun %1', who)} tabIndex={-1} onClick={() => onRerun(run)} />
            <IconButton
              icon="goTo"
              name={trans.__('Go to cell of %1', who)}
              tabIndex={-1}
              onClick={() => onGoToCell(run)}
            />
          </>
        )}
      </span>
    </div>
  );
}, isSame);

/** Return whether a row would look the same. Functions are new in each render and do the same, so they don't count. */
function isSame(one: RunItemProps, other: RunItemProps): boolean {
  const { bill: before, ...facts } = one;
  const { bill: after, ...now } = other;
  return (
    before.seconds === after.seconds &&
    before.cost === after.cost &&
    (Object.keys(facts) as (keyof typeof facts)[]).every(
      name => typeof facts[name] === 'function' || facts[name] === now[name]
    )
  );
}

/** Return a cost for a column: credits without the unit, with four decimals in each row. */
function bareCost({ cost, costIs }: Bill): string {
  const sign = costIs === 'billed' ? '' : costIs === 'at most' ? '≤ ' : '≈ ';
  return cost === null ? '' : sign + cost.toFixed(4);
}
