import React, { KeyboardEvent, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';

import { trans } from '../trans';
import { LogLines, pieces, Search } from './logLines';

export interface LogProps {
  log: LogLines;
  /** Number of lines. A change redraws the log. */
  count: number;
  ended: boolean;
  /** Number of earlier lines, which are only in the log file. */
  omitted?: number;
}

const LINE = 18; // pixels, same as in the style sheet
/** Lines above and below the view that are in the page, so that scrolling shows no blank area. */
const SPARE = 20;
/**
 * Browsers draw nothing below about ten million pixels: in a longer log, one pixel scrolls more than one pixel of
 * lines.
 */
const TALLEST = 8_000_000;

/** A log of any length with a search. Only lines in view are in the page. */
export function Log({ log, count, ended, omitted = 0 }: LogProps) {
  const [query, setQuery] = useState('');
  const [current, setCurrent] = useState(0);
  const [only, setOnly] = useState(false);
  const [follows, setFollows] = useState(true);
  const search = useMemo(() => (query ? new Search(log.lines, query) : null), [log, query]);
  const hits = search && search.hits();
  const at = hits?.[current];
  const step = (by: number) => {
    if (hits?.length) {
      setFollows(false);
      setCurrent((current + by + hits.length) % hits.length);
    }
  };
  const seek = (words: string) => {
    setQuery(words);
    setCurrent(0);
    setFollows(follows && !words);
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      step(event.shiftKey ? -1 : 1);
    }
  };
  return (
    <div className="lk-log">
      <div className="lk-row">
        <label>
          {trans.__('Search the log')}{' '}
          <input
            type="search"
            value={query}
            onInput={event => seek((event.target as HTMLInputElement).value)}
            onKeyDown={press}
          />
        </label>
        {hits && (
          <>
            <button type="button" aria-label={trans.__('Previous match')} onClick={() => step(-1)}>
              ↑
            </button>
            <button type="button" aria-label={trans.__('Next match')} onClick={() => step(1)}>
              ↓
            </button>
            <label>
              <input type="checkbox" checked={only} onChange={event => setOnly(event.currentTarget.checked)} />{' '}
              {trans.__('Matches only')}
            </label>
          </>
        )}
        {!ended && (
          <label>
            <input type="checkbox" checked={follows} onChange={event => setFollows(event.currentTarget.checked)} />{' '}
            {trans.__('Follow')}
          </label>
        )}
        <span className="lk-quiet" role="status">
          {hits ? hitsText(hits, count, at) : countText(omitted, count, ended)}
        </span>
      </div>
      <Lines
        count={hits && only ? hits.length : count}
        line={place => log.lines[hits && only ? hits[place] : place]}
        query={query}
        marked={hits && only ? current : at}
        follows={follows}
        onFollows={setFollows}
      />
    </div>
  );
}

interface LinesProps {
  count: number;
  line: (place: number) => string;
  query: string;
  /** Number of the line to scroll to, if any. */
  marked: number | undefined;
  follows: boolean;
  onFollows: (follows: boolean) => void;
}

function Lines({ count, line, query, marked, follows, onFollows }: LinesProps) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const height = useHeight(box);
  const fullHeight = count * LINE;
  const tall = Math.min(fullHeight, TALLEST);
  const scale = fullHeight > tall && tall > height ? (fullHeight - height) / (tall - height) : 1;
  useLayoutEffect(() => {
    if (follows) {
      box.current!.scrollTop = tall;
    }
  }, [tall, follows, height]);
  useEffect(() => {
    if (marked !== undefined) {
      box.current!.scrollTop = Math.max(0, marked * LINE - height / 2) / scale;
    }
  }, [marked, query]);
  const scrolled = () => {
    const { scrollTop, clientHeight, scrollHeight } = box.current!;
    setTop(scrollTop);
    onFollows(scrollTop + clientHeight > scrollHeight - 2 * LINE);
  };
  const first = Math.min(count, Math.max(0, Math.floor((top * scale) / LINE) - SPARE));
  const last = Math.min(count, first + Math.ceil(height / LINE) + 2 * SPARE);
  const visible = Array.from({ length: last - first }, (_, place) => first + place);
  return (
    <div
      ref={box}
      className="lk-lines"
      role="log"
      aria-live="off"
      aria-label={trans.__('Log')}
      tabIndex={0}
      onScroll={scrolled}
    >
      <div style={{ height: tall }}>
        <div style={{ transform: `translateY(${first * LINE - top * (scale - 1)}px)` }}>
          {visible.map(place => (
            <div key={place} className={`lk-line${place === marked ? ' lk-found' : ''}`}>
              {pieces(line(place), query).map(({ text, colour, bold, isMatch: found }, part) => {
                const name = `lk-ansi${colour}${bold ? ' lk-bold' : ''}`;
                return found ? (
                  <mark key={part}>{text}</mark>
                ) : (
                  <span key={part} className={name}>
                    {text}
                  </span>
                );
              })}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

function useHeight(box: React.RefObject<HTMLDivElement>): number {
  const [height, setHeight] = useState(400);
  useEffect(() => {
    const observer = new ResizeObserver(() => setHeight(box.current?.clientHeight ?? 400));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  return height;
}

function hitsText(hits: number[], count: number, at: number | undefined): string {
  const [hitCount, all] = [figure(hits.length), figure(count)];
  return at === undefined
    ? trans._n('Matches in %2 of %3 line', 'Matches in %2 of %3 lines', count, hitCount, all)
    : trans._n(
        'Match in %2 of %3 line, now at line %4',
        'Matches in %2 of %3 lines, now at line %4',
        count,
        hitCount,
        all,
        figure(at + 1)
      );
}

function countText(omitted: number, count: number, ended: boolean): string {
  const lines = figure(count);
  if (omitted) {
    return trans._n(
      '%2 line is shown; the log file has %3 earlier lines',
      '%2 lines are shown; the log file has %3 earlier lines',
      count,
      lines,
      figure(omitted)
    );
  }
  if (!count) {
    return ended ? trans.__('No output.') : trans.__('No output yet.');
  }
  return ended
    ? trans._n('%2 line', '%2 lines', count, lines)
    : trans._n('%2 line so far', '%2 lines so far', count, lines);
}

function figure(count: number): string {
  return count.toLocaleString('en');
}
