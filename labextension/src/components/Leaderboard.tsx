import React, { memo, useMemo, useState } from 'react';

import { Board, BoardSorting, longerLimit, Member, sortRows } from '../board';
import { costWords } from '../bill';
import { duration, machineName } from '../format';
import { Header, Tone } from '../header';
import { trans } from '../trans';
import { columnDecimals, Curve, curvePath, lastValue, valueLabel } from './scalars';
import { Curves } from './Curves';
import { Icon, IconButton, IconName } from './Icon';
import { Mark } from './MetricsPlot';
import { QuestionContent, Question } from './Question';
import { cellClass, SortHeading } from './SortHeading';

/** What a user can do with runs; a missing callback removes the button. */
export interface LeaderboardActions {
  /** Bind the values of a run in the notebook. */
  onUse?: (id: string) => void;
  /** Stop a run after a question. */
  onStop?: (id: string) => void;
  /** Stop runs without another question. */
  onStopAll?: (ids: string[]) => void;
  /** Rerun with another time limit in seconds, or with the same one. */
  onRerun?: (id: string, timeout: number | null) => void;
  onOpen?: (id: string) => void;
}

export interface LeaderboardProps {
  board: Board;
  /** The same object each time, so that rows without news aren't drawn again. */
  actions: LeaderboardActions;
  /** The present header of each member, in the order of the members. */
  headers: Header[];
}

const ICONS: Record<Tone, IconName> = {
  waiting: 'waiting',
  running: 'running',
  done: 'done',
  failed: 'failed',
  stopped: 'stopped',
  unsure: 'warning'
};

/** Printed numbers that are columns, and charts that are open initially. */
const MOST_COLUMNS = 3;
const OPEN = 2;

interface Column {
  id: string;
  name: string;
  isFigure?: boolean;
  isExtra?: boolean;
  title?: string;
}

/** Runs that were started together: their curves, and a row for each run, the best first. */
export function Leaderboard({ board, headers, actions }: LeaderboardProps) {
  const { members, names, score } = board;
  const [sorting, setSorting] = useState<BoardSorting | null>(null);
  const [question, setQuestion] = useState<QuestionContent | null>(null);
  const order = sorting ?? { column: score ? 'score' : 'number', down: !!score?.highest };
  const rows = members.map((member, at) => {
    const { machine, label, bill } = headers[at];
    return { member, header: headers[at], machine, state: label, seconds: bill.seconds, cost: bill.cost };
  });
  const sorted = sortRows(rows, order);
  const runs = useMemo(
    () => members.map(member => ({ run: memberName(member, board), ink: member.number - 1, curves: member.curves })),
    [members]
  );
  const columns = buildColumns(board, headers);
  const decimals = columns.map(({ id }) => columnDecimals(columnNumbers(id, members))).join(' ');
  const best = score ? sortRows(rows, { column: 'score', down: score.highest })[0] : null;
  const rest = rows.filter(({ member, header }) => member !== best?.member && header.id && !header.ended);
  const sort = (column: string) =>
    setSorting({ column, down: order.column === column ? !order.down : column === 'score' && !!score?.highest });
  const askStop = () =>
    setQuestion({
      text: trans._n(
        'Stop %1 run and keep run %2? The stopped run is billed until now.',
        'Stop %1 runs and keep run %2? The stopped runs are billed until now.',
        rest.length,
        memberName(best!.member, board)
      ),
      yes: trans._n('Stop %1 run', 'Stop %1 runs', rest.length),
      onYes: () => actions.onStopAll!(rest.map(({ header }) => header.id!))
    });
  return (
    <div className="lk lk-board">
      {names.length > 0 && <Curves runs={runs} names={names} open={OPEN} />}
      {actions.onStopAll && best && typeof best.member.score === 'number' && rest.length > 0 && (
        <div className="lk-row">
          <button type="button" onClick={askStop}>
            {trans.__('Stop all runs except the best run')}
          </button>
        </div>
      )}
      {question && <Question key={question.text} question={question} onEnd={() => setQuestion(null)} />}
      <div className="lk-scroll" tabIndex={0} role="region" aria-label={trans.__('Runs')}>
        <table className="lk-grid-table">
          <thead>
            <tr>
              {columns.map(({ id, ...heading }) => (
                <SortHeading key={id} column={id} {...heading} sorting={order} onSort={() => sort(id)} />
              ))}
              <th scope="col">
                <span className="lk-unseen">{trans.__('Actions')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {sorted.map(({ member, header }) => (
              <Row
                key={member.number}
                member={member}
                name={memberName(member, board)}
                columns={columns.map(({ id }) => id).join('\n')}
                decimals={decimals}
                scoreName={score?.name ?? ''}
                longer={longerLimit(header.limit, board.longest)}
                actions={actions}
                {...headerFacts(header)}
              />
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** Return the name of a run: its number, its machine if the machines differ, and its swept values. */
function memberName({ number, values, saved }: Member, { members, swept }: Board): string {
  const isMixed = !swept.length || new Set(members.map(member => member.saved.machine)).size > 1;
  const machine = isMixed ? [machineName(saved.machine ?? '')] : [];
  return [String(number), ...machine, ...Object.entries(values).map(([name, value]) => `${name}=${value}`)].join(' ');
}

/** Return the printed numbers that are columns, besides the score and the swept values, which have columns already. */
function columnNames({ names, score, swept }: Board): string[] {
  const isNew = (name: string) => name !== score?.name && !swept.includes(name);
  return names.filter(isNew).slice(0, MOST_COLUMNS - (score ? 1 : 0));
}

/** Return the columns: number, score, what differs between the members, state, printed numbers, time and cost. */
function buildColumns(board: Board, headers: Header[]): Column[] {
  const { swept, score, members } = board;
  const differs = (values: string[]) => new Set(values).size > 1;
  const direction = score?.highest ? trans.__('The highest is best') : trans.__('The lowest is best');
  return [
    { id: 'number', name: trans.__('Run') },
    ...(score
      ? [
          {
            id: 'score',
            name: `${score.name} (${trans.__('last')})`,
            isFigure: true,
            title: direction
          }
        ]
      : []),
    ...(differs(headers.map(({ machine }) => machine)) ? [{ id: 'machine', name: trans.__('Machine') }] : []),
    ...swept
      .filter(name => differs(members.map(({ values }) => values[name])))
      .map(name => ({ id: `swept:${name}`, name, isFigure: true })),
    { id: 'state', name: trans.__('State') },
    ...columnNames(board).map(name => ({ id: `curve:${name}`, name, isFigure: true, isExtra: true })),
    { id: 'time', name: trans.__('Duration'), isFigure: true },
    { id: 'cost', name: trans.__('Cost'), isFigure: true, title: trans.__('In credits') }
  ];
}

/** Return the numbers that a column of printed numbers shows. */
function columnNumbers(column: string, members: Member[]): number[] {
  const name = column.slice('curve:'.length);
  const values = members.map(({ score, curves }) => {
    const curve = curves.find(each => each.name === name);
    return column === 'score' ? score : column.startsWith('curve:') && curve ? lastValue(curve) : null;
  });
  return values.filter(value => typeof value === 'number');
}

/** The facts of a header that a row shows, as plain values, so that rows without news aren't drawn again. */
function headerFacts({ id, tone, label, ended, machine, bill, waited, notes }: Header) {
  const seconds = bill.seconds ?? waited;
  return {
    id,
    tone,
    label,
    ended,
    machine: machineName(machine),
    time: seconds === null ? '' : duration(ended ? seconds : Math.floor(seconds)),
    cost: waited === null ? (costWords(bill) ?? '').replace(/ credits$/, '') : '',
    reason: notes.join(' ')
  };
}

type RowProps = ReturnType<typeof headerFacts> & {
  member: Member;
  name: string;
  /** Ids of the columns, one on each line. */
  columns: string;
  /** Decimals of the columns, separated by spaces. */
  decimals: string;
  scoreName: string;
  /** Time limit in seconds of a longer rerun; null if no longer one is known. */
  longer: number | null;
  actions: LeaderboardActions;
};

const Row = memo(function Row({ member, name, columns, decimals, scoreName, longer, actions, ...facts }: RowProps) {
  const { number, values, curves, marks } = member;
  const { id, tone, label, ended, machine, time, cost, reason } = facts;
  const { onUse, onStop, onRerun, onOpen } = actions;
  const findDecimals = (column: string) => Number(decimals.split(' ')[columns.split('\n').indexOf(column)]);
  const cells: Record<string, React.ReactNode> = {
    number: (
      <>
        <Mark ink={number - 1} /> {number}
        {marks.map(mark => (
          <span key={mark} className="lk-chip" title={mark}>
            {mark.startsWith('best') ? '★ ' : ''}
            {shortMark(mark)}
          </span>
        ))}
      </>
    ),
    machine,
    state: <State tone={tone} label={label} share={member.share} reason={reason} />,
    score: (
      <Value
        curve={curves.find(curve => curve.name === scoreName)}
        value={member.score}
        decimals={findDecimals('score')}
      />
    ),
    time,
    cost
  };
  const cell = (column: string) => {
    const key = column.slice(column.indexOf(':') + 1);
    return column.startsWith('swept:') ? (
      values[key]
    ) : column.startsWith('curve:') ? (
      <Value curve={curves.find(curve => curve.name === key)} decimals={findDecimals(column)} />
    ) : (
      cells[column]
    );
  };
  return (
    <tr>
      {columns.split('\n').map(column =>
        column === 'number' ? (
          <th key={column} scope="row">
            {cell(column)}
          </th>
        ) : (
          <td
            key={column}
            className={cellClass({ isFigure: !TEXT_COLUMNS.has(column), isExtra: column.startsWith('curve:') })}
          >
            {cell(column)}
          </td>
        )
      )}
      <td>
        <div className="lk-row-actions">
          {onUse && id && tone === 'done' && (
            <button
              type="button"
              aria-label={trans.__('Use this run: %1', name)}
              title={trans.__('Set the parameters of run %1 as variables in this notebook', name)}
              onClick={() => onUse(id)}
            >
              <span className="lk-board-wide">{trans.__('Use this run')}</span>
              <span className="lk-board-short">{trans.__('Use')}</span>
            </button>
          )}
          {onStop && id && !ended && (
            <IconButton icon="stopped" name={trans.__('Stop run %1', name)} onClick={() => onStop(id)} />
          )}
          {onRerun && id && ended && (
            <IconButton
              icon="rerun"
              name={
                longer ? trans.__('Rerun %1 longer (limit %2)', name, duration(longer)) : trans.__('Rerun %1', name)
              }
              onClick={() => onRerun(id, longer)}
            />
          )}
          {onOpen && id && <IconButton icon="open" name={trans.__('Open run %1', name)} onClick={() => onOpen(id)} />}
        </div>
      </td>
    </tr>
  );
});

const TEXT_COLUMNS = new Set(['machine', 'state']);

const shortMark = (mark: string): string =>
  mark.startsWith('best ') ? trans.__('best') : mark.startsWith('cheapest') ? trans.__('cheapest') : mark;

type StateProps = { tone: Tone; label: string; share: number | null; reason: string };

function State({ tone, label, share, reason }: StateProps) {
  return (
    <span className={`lk-board-state lk-${tone}`} title={reason || undefined}>
      <Icon name={ICONS[tone]} /> <span className="lk-board-label">{label}</span>
      {share !== null && tone === 'running' && (
        <progress max={1} value={share} aria-label={trans.__('Progress')} title={`${Math.round(100 * share)} %`} />
      )}
      {reason && tone !== 'running' && <small className="lk-board-reason"> {reason}</small>}
    </span>
  );
}

/** The curve of a number as a sparkline, and its last value. */
function Value({ curve, value, decimals }: { curve?: Curve; value?: number | string | null; decimals: number }) {
  const last = value ?? (curve ? lastValue(curve) : null);
  return (
    <span className="lk-board-value">
      {curve && (
        <svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
          <path d={curvePath(curve)} />
        </svg>
      )}
      {last === null ? '' : typeof last === 'number' ? valueLabel(last, decimals) : last}
    </span>
  );
}
