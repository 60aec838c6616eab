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

interface Here {
  log: LogLines;
  /** The number of the first line that is here. */
  first: number;
  count: number;
}

/** The log of a run as Python has it: what is missing here is brought, a page at a time. */
export function RunLog({ total, live, ended, load }: RunLogProps) {
  const { log, first, count } = useLines(total, load);
  log.lines[count] = live;
  return <Log log={log} count={log.count} ended={ended} left={first} />;
}

function useLines(total: number, load: RunLogProps['load']): Here {
  const [here, setHere] = useState<Here>(() => ({ log: new LogLines(), first: 0, count: 0 }));
  const busy = useRef(false);
  const next = here.first + here.count;
  useEffect(() => {
    if (busy.current || next >= total) {
      return;
    }
    busy.current = true;
    const done = (page: Page) => {
      busy.current = false;
      setHere(joined(here, next, page));
    };
    load(next).then(done, () => {
      busy.current = false;
    });
  }, [total, next]);
  return here;
}

/** What is here with a page more; one that does not follow on it takes its place. */
function joined(here: Here, next: number, { first, lines }: Page): Here {
  const goesOn = first === next;
  const log = goesOn ? here.log : new LogLines();
  log.lines.pop();
  lines.forEach(line => log.lines.push(line));
  log.lines.push('');
  return { log, first: goesOn ? here.first : first, count: log.lines.length - 1 };
}
