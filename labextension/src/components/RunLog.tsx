import React, { useEffect, useMemo, useRef, useState } from 'react';

import { marked, matching } from './search';

export interface RunLogProps {
  /** How many lines the log has by now. */
  total: number;
  /** The line that is being written. */
  live: string;
  ended: boolean;
  /** Bring lines from this one on, as many as travel well. */
  load: (start: number) => Promise<Page>;
}

/** Some lines of a log; `first` is the number of the first of them. */
export interface Page {
  first: number;
  lines: string[];
}

const LINE = 18;
const HEIGHT = 270;
/** Lines beyond the edges that are drawn, so that scrolling shows no white. */
const SPARE = 20;

/** A log of any length: only what is seen of it is in the page. */
export function RunLog({ total, live, ended, load }: RunLogProps) {
  const { first: left, lines } = useLines(total, load);
  const [query, setQuery] = useState('');
  const [follows, setFollows] = useState(true);
  const [top, setTop] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const found = useMemo(() => matching(lines, query), [lines, query]);
  const count = found ? found.length : lines.length + (live ? 1 : 0);
  useEffect(() => {
    if (follows && box.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, [count, follows]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current!;
    setTop(scrollTop);
    setFollows(scrollHeight - scrollTop - clientHeight < 2 * LINE);
  };
  const first = Math.max(0, Math.floor(top / LINE) - SPARE);
  const last = Math.min(count, first + Math.ceil(HEIGHT / LINE) + 2 * SPARE);
  const shown = Array.from({ length: last - first }, (_, at) => (found ? found[first + at] : first + at));
  return (
    <div className="lk-log">
      <div className="lk-row">
        <label>
          Search the log{' '}
          <input
            type="search"
            value={query}
            onInput={event => {
              setQuery((event.target as HTMLInputElement).value);
              setFollows(false);
            }}
          />
        </label>
        <label>
          <input type="checkbox" checked={follows} onChange={event => setFollows(event.currentTarget.checked)} /> Follow
        </label>
        <span className="lk-quiet" role="status">
          {said(left, lines.length, found?.length, ended)}
        </span>
      </div>
      <div ref={box} className="lk-lines" role="log" aria-live="off" aria-label="Log" tabIndex={0} onScroll={scrolled}>
        <div style={{ height: count * LINE, position: 'relative' }}>
          {shown.map((at, place) => (
            <div key={at} className="lk-line" style={{ top: (first + place) * LINE }}>
              {marked(at < lines.length ? lines[at] : live, query).map((part, number) =>
                number % 2 ? <mark key={number}>{part}</mark> : part
              )}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

function said(left: number, lines: number, found: number | undefined, ended: boolean): string {
  if (left) {
    return `${counted(lines)}; ${left.toLocaleString('en')} before them are in the log file`;
  }
  if (found !== undefined) {
    return `${found.toLocaleString('en')} of ${counted(lines)}`;
  }
  return lines ? counted(lines) : ended ? 'The run wrote nothing.' : 'Nothing written yet.';
}

function counted(lines: number): string {
  return lines === 1 ? '1 line' : `${lines.toLocaleString('en')} lines`;
}

/** The lines that are here; those that are missing are brought, a page at a time. */
function useLines(total: number, load: RunLogProps['load']): Page {
  const [page, setPage] = useState<Page>({ first: 0, lines: [] });
  const busy = useRef(false);
  const next = page.first + page.lines.length;
  useEffect(() => {
    if (busy.current || next >= total) {
      return;
    }
    busy.current = true;
    const done = (more: Page) => {
      busy.current = false;
      setPage(more.first === next ? { first: page.first, lines: page.lines.concat(more.lines) } : more);
    };
    load(next).then(done, () => {
      busy.current = false;
    });
  }, [total, next]);
  return page;
}
