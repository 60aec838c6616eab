import React, { useEffect, useRef, useState } from 'react';

import { Log } from './Log';
import { LogLines } from './logLines';

export interface RunLogProps {
  /** Number of lines in the log so far. */
  total: number;
  /** The incomplete last line. */
  live: string;
  ended: boolean;
  /** Fetch a page of lines that starts at a line number. */
  load: (start: number) => Promise<Page>;
}

/** Some lines of a log; `first` is the number of the first line. */
export interface Page {
  first: number;
  lines: string[];
}

interface LoadedLines {
  log: LogLines;
  /** Number of the first loaded line. */
  first: number;
  count: number;
}

/** The log of a run in the kernel. Missing lines are fetched page by page. */
export function RunLog({ total, live, ended, load }: RunLogProps) {
  const { log, first, count } = useLines(total, load);
  log.lines[count] = live;
  return <Log log={log} count={log.count} ended={ended} omitted={first} />;
}

function useLines(total: number, load: RunLogProps['load']): LoadedLines {
  const [loaded, setLoaded] = useState<LoadedLines>(() => ({ log: new LogLines(), first: 0, count: 0 }));
  const busy = useRef(false);
  const next = loaded.first + loaded.count;
  useEffect(() => {
    if (busy.current || next >= total) {
      return;
    }
    busy.current = true;
    const done = (page: Page) => {
      busy.current = false;
      setLoaded(joinPage(loaded, next, page));
    };
    load(next).then(done, () => {
      busy.current = false;
    });
  }, [total, next]);
  return loaded;
}

/** Append a page to the loaded lines. A page that doesn't continue them replaces them. */
function joinPage(loaded: LoadedLines, next: number, { first, lines }: Page): LoadedLines {
  const goesOn = first === next;
  const log = goesOn ? loaded.log : new LogLines();
  log.lines.pop();
  lines.forEach(line => log.lines.push(line));
  log.lines.push('');
  return { log, first: goesOn ? loaded.first : first, count: log.lines.length - 1 };
}
