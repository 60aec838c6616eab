import React, { useState } from 'react';

import { chosen, Column, RunRow, Sorting, turned } from './runRows';

/** What differs between two runs; `facts` are name, of the one, of the other, whether they are the same. */
export interface Comparison {
  titles: [string, string];
  facts: [string, string, string, boolean][];
  code: string[];
}

export interface RunsTableProps {
  rows: RunRow[];
  note: string;
  onOpen: (id: string) => Promise<unknown>;
  onAbort: (id: string) => Promise<string>;
  onRerun: (id: string) => Promise<string>;
  onCompare: (before: string, after: string) => Promise<Comparison>;
}

const COLUMNS: [Column, string][] = [
  ['run', 'Run'],
  ['state', 'State'],
  ['machine', 'Machine'],
  ['started', 'Started'],
  ['took', 'Took'],
  ['cost', 'Cost'],
  ['name', 'Name']
];
const FIGURES = new Set<Column>(['took', 'cost']);

/** Runs with a filter, an order, and what can be done with each. */
export function RunsTable({ rows, note, onOpen, onAbort, onRerun, onCompare }: RunsTableProps) {
  const [query, setQuery] = useState('');
  const [sorting, setSorting] = useState<Sorting>({ column: 'started', down: true });
  const [marked, setMarked] = useState<string[]>([]);
  const [asked, setAsked] = useState<{ words: string; work: () => Promise<string> } | null>(null);
  const [said, setSaid] = useState('');
  const [comparison, setComparison] = useState<Comparison | null>(null);
  const shown = chosen(rows, query, sorting);
  const mark = (id: string) =>
    setMarked(marked.includes(id) ? marked.filter(other => other !== id) : [...marked, id].slice(-2));
  const during = (work: Promise<unknown>) => {
    setSaid('…');
    work.then(
      answer => setSaid(typeof answer === 'string' ? answer : ''),
      () => setSaid('') // the notice below tells why
    );
  };
  const agreed = () => {
    during(asked!.work());
    setAsked(null);
  };
  return (
    <div>
      <div className="lk-row">
        <label>
          Filter{' '}
          <input
            type="search"
            value={query}
            placeholder="state, machine, name, label"
            onInput={event => setQuery(event.currentTarget.value)}
          />
        </label>
        <button
          type="button"
          disabled={marked.length !== 2}
          onClick={() => during(onCompare(marked[0], marked[1]).then(setComparison))}
        >
          Compare the two that are marked
        </button>
        <span role="status">
          {said || `${shown.length.toLocaleString('en')} of ${rows.length.toLocaleString('en')}`}
        </span>
      </div>
      {asked && (
        <p className="lk-row" role="alertdialog" aria-label={asked.words}>
          {asked.words}{' '}
          <button type="button" className="lk-main" ref={focused} onClick={agreed}>
            Yes
          </button>
          <button type="button" onClick={() => setAsked(null)}>
            No
          </button>
        </p>
      )}
      <div className="lk-scroll" tabIndex={0} role="region" aria-label="Runs">
        <table>
          <thead>
            <tr>
              <th scope="col">Mark</th>
              {COLUMNS.map(([column, name]) => (
                <th key={column} scope="col" aria-sort={order(sorting, column)}>
                  <button type="button" onClick={() => setSorting(turned(sorting, column))}>
                    {name} {sorting.column === column && (sorting.down ? '▼' : '▲')}
                  </button>
                </th>
              ))}
              <th scope="col">Do</th>
            </tr>
          </thead>
          <tbody>
            {shown.map(row => (
              <tr key={row.id}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Mark run ${row.run}`}
                    checked={marked.includes(row.id)}
                    onChange={() => mark(row.id)}
                  />
                </td>
                {COLUMNS.map(([column]) =>
                  column === 'run' ? (
                    <th key={column} scope="row">
                      {row.run}
                    </th>
                  ) : (
                    <td key={column} className={FIGURES.has(column) ? 'lk-figure' : undefined}>
                      {row[column]}
                    </td>
                  )
                )}
                <td>
                  <div className="lk-row">
                    <button type="button" aria-label={`Open run ${row.run}`} onClick={() => during(onOpen(row.id))}>
                      Open
                    </button>
                    {row.ended ? (
                      <button
                        type="button"
                        aria-label={`Run ${row.run} again`}
                        onClick={() =>
                          setAsked({
                            words: `Start run ${row.run} again on ${row.machine}? It costs what it runs.`,
                            work: () => onRerun(row.id)
                          })
                        }
                      >
                        Run again
                      </button>
                    ) : (
                      <button
                        type="button"
                        aria-label={`Stop run ${row.run}`}
                        onClick={() => setAsked({ words: `Stop run ${row.run}?`, work: () => onAbort(row.id) })}
                      >
                        Stop
                      </button>
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

function Compared({ titles, facts, code, onClose }: Comparison & { onClose: () => void }) {
  return (
    <section aria-label={`Run ${titles[0]} beside ${titles[1]}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">What</th>
            <th scope="col">{titles[0]}</th>
            <th scope="col">{titles[1]}</th>
          </tr>
        </thead>
        <tbody>
          {facts.map(([name, before, after, same]) => (
            <tr key={name} className={same ? 'lk-quiet' : undefined}>
              <th scope="row">
                {name}
                {!same && ' ≠'}
              </th>
              <td>{before}</td>
              <td>{after}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <pre tabIndex={0}>{code.length ? code.join('\n') : 'The code is the same.'}</pre>
      <button type="button" onClick={onClose}>
        Close the comparison
      </button>
    </section>
  );
}

const focused = (button: HTMLButtonElement | null) => button?.focus();

function order(sorting: Sorting, column: Column): 'ascending' | 'descending' | 'none' {
  if (sorting.column !== column) {
    return 'none';
  }
  return sorting.down ? 'descending' : 'ascending';
}
