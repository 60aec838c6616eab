import React, { lazy, Suspense, useMemo, useState } from 'react';

import { trans } from '../trans';
import { IconButton, Signed } from './Icon';
import { QuestionContent, Question } from './Question';
import { Curve } from './scalars';
import { selectRows, Column, TableRow, Sorting, turned } from './runRows';
import { SortHeading } from './SortHeading';

/** Differences between runs; each of `facts` is a name and the value of each run, `curves` are the curves of each run. */
export interface Comparison {
  titles: string[];
  facts: string[][];
  curves: Curve[][];
  code: string[];
}

/** Plots are loaded at the first comparison. */
const Curves = lazy(async () => ({ default: (await import('./Curves')).Curves }));

/** Maximum number of compared runs. */
const MOST_COMPARED = 8;

export interface RunsTableProps {
  rows: TableRow[];
  note: string;
  onOpen: (id: string) => Promise<unknown>;
  onAbort: (id: string) => Promise<string>;
  /** Return the machine of a rerun with price and maximum cost. */
  onPrice: (id: string) => Promise<string>;
  onRerun: (id: string) => Promise<string>;
  onCompare: (runs: string[]) => Promise<Comparison>;
}

const headings = (): [Column, string][] => [
  ['run', trans.__('Run')],
  ['state', trans.__('State')],
  ['machine', trans.__('Machine')],
  ['started', trans.__('Started')],
  ['took', trans.__('Duration')],
  ['cost', trans.__('Cost')],
  ['name', trans.__('Name')]
];
const FIGURES = new Set<Column>(['took', 'cost']);

/** Runs with a filter, an order and actions. */
export function RunsTable({ rows, note, onOpen, onAbort, onPrice, onRerun, onCompare }: RunsTableProps) {
  const [query, setQuery] = useState('');
  const [sorting, setSorting] = useState<Sorting>({ column: 'started', down: true });
  const [marked, setMarked] = useState<string[]>([]);
  const [question, setQuestion] = useState<QuestionContent | null>(null);
  const [status, setStatus] = useState('');
  const [comparison, setComparison] = useState<Comparison | null>(null);
  const visible = selectRows(rows, query, sorting);
  const columns = headings();
  const mark = (id: string) =>
    setMarked(marked.includes(id) ? marked.filter(other => other !== id) : [...marked, id].slice(-MOST_COMPARED));
  const during = (work: Promise<unknown>) => {
    setStatus('…');
    work.then(
      answer => setStatus(typeof answer === 'string' ? answer : ''),
      () => setStatus('') // the notice below shows the reason
    );
  };
  const askAgain = async ({ id, run }: TableRow) => {
    const price = await onPrice(id);
    const text = trans.__('Rerun %1 on %2?', run, price);
    setQuestion({ text, yes: trans.__('Rerun'), onYes: () => during(onRerun(id)) });
  };
  const askStop = ({ id, run }: TableRow) =>
    setQuestion({
      text: trans.__('Abort run %1? Its cost so far is billed.', run),
      yes: trans.__('Abort'),
      onYes: () => during(onAbort(id))
    });
  return (
    <div>
      <div className="lk-row">
        <label>
          {trans.__('Filter')}{' '}
          <input
            type="search"
            size={28}
            value={query}
            placeholder={trans.__('state, machine, name, label')}
            onInput={event => setQuery(event.currentTarget.value)}
          />
        </label>
        <button
          type="button"
          disabled={marked.length < 2}
          onClick={() => during(onCompare(marked).then(setComparison))}
        >
          {trans.__('Compare marked runs')}
        </button>
        <span role="status">
          {status || trans.__('%1 of %2', visible.length.toLocaleString('en'), rows.length.toLocaleString('en'))}
        </span>
      </div>
      {question && <Question key={question.text} question={question} onEnd={() => setQuestion(null)} />}
      <div className="lk-scroll" tabIndex={0} role="region" aria-label={trans.__('Runs')}>
        <table className="lk-grid-table">
          <thead>
            <tr>
              <th scope="col">{trans.__('Mark')}</th>
              {columns.map(([column, name]) => (
                <SortHeading
                  key={column}
                  column={column}
                  name={name}
                  isFigure={FIGURES.has(column)}
                  sorting={sorting}
                  onSort={() => setSorting(turned(sorting, column))}
                />
              ))}
              <th scope="col">{trans.__('Actions')}</th>
            </tr>
          </thead>
          <tbody>
            {visible.map(row => (
              <tr key={row.id}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={trans.__('Mark run %1', row.run)}
                    checked={marked.includes(row.id)}
                    onChange={() => mark(row.id)}
                  />
                </td>
                {columns.map(([column]) =>
                  column === 'run' ? (
                    <th key={column} scope="row">
                      {row.run}
                    </th>
                  ) : (
                    <td key={column} className={FIGURES.has(column) ? 'lk-figure' : undefined}>
                      <Signed text={row[column]} />
                    </td>
                  )
                )}
                <td>
                  <div className="lk-row-actions">
                    <IconButton
                      icon="open"
                      name={trans.__('Open run %1', row.run)}
                      onClick={() => during(onOpen(row.id))}
                    />
                    {row.ended ? (
                      <IconButton
                        icon="rerun"
                        name={trans.__('Rerun %1', row.run)}
                        onClick={() => during(askAgain(row))}
                      />
                    ) : (
                      <IconButton
                        icon="stopped"
                        name={trans.__('Abort run %1', row.run)}
                        onClick={() => askStop(row)}
                      />
                    )}
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {note && <p role="status">{note}</p>}
      {comparison && <Compared {...comparison} onClose={() => setComparison(null)} />}
    </div>
  );
}

function Compared({ titles, facts, curves, code, onClose }: Comparison & { onClose: () => void }) {
  const runs = useMemo(() => titles.map((run, ink) => ({ run, ink, curves: curves[ink] })), [titles, curves]);
  const names = useMemo(() => [...new Set(curves.flatMap(all => all.map(({ name }) => name)))], [curves]);
  return (
    <section aria-label={trans.__('Comparison of %1', titles.join(', '))}>
      {names.length > 0 && (
        <Suspense fallback={null}>
          <Curves runs={runs} names={names} open={2} />
        </Suspense>
      )}
      <table>
        <thead>
          <tr>
            <th scope="col">{trans.__('Differs')}</th>
            {titles.map((title, at) => (
              <th key={at} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {facts.map(([name, ...values]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {values.map((value, at) => (
                <td key={at}>{value}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <pre tabIndex={0}>{code.length ? code.join('\n') : trans.__('The code is identical.')}</pre>
      <button type="button" onClick={onClose}>
        {trans.__('Close the comparison')}
      </button>
    </section>
  );
}
