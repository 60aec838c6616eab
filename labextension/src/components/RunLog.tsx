import React, { useEffect, useRef, useState } from 'react';

import { Log } from './Log';
import { LogLines } from './logLines';

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

interface LoadedLines {
  log: LogLines;
  /** The number of the first line that is here. */
  first: number;
  count: number;
}

/** The log of a run as Python has it: what is missing here is brought, a page at a time. */
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

/** What is here with a page more; one that does not follow on it takes its place. */
function joinPage(loaded: LoadedLines, next: number, { first, lines }: Page): LoadedLines {
  const goesOn = first === next;
  const log = goesOn ? loaded.log : new LogLines();
  log.lines.pop();
  lines.forEach(line => log.lines.push(line));
  log.lines.push('');
  return { log, first: goesOn ? loaded.first : first, count: log.lines.length - 1 };
}
