import React from 'react';

import { RunDetails, RunTraits } from '../components/RunDetails';
import { TableRow } from '../components/runRows';
import { RunsTable } from '../components/RunsTable';
import { trans } from '../trans';
import { Props, widget } from './view';

type Traits = { rows: TableRow[]; note: string; opened: Partial<RunTraits> };

function RunsWidget({ rows, note, opened, ask }: Props<Traits>) {
  return (
    <>
      <RunsTable
        rows={rows}
        note={note}
        onOpen={run => ask('look_at', { run })}
        onAbort={run => ask('abort', { run })}
        onPrice={run => ask('price_again', { run })}
        onRerun={run => ask('rerun', { run })}
        onCompare={([before, after, ...more]) => ask('compare', { before, after, more })}
      />
      {opened.title && (
        <div key={opened.title}>
          <RunDetails
            {...(opened as RunTraits)}
            onAsk={(action, args = {}) => ask('opened_run', { do: action, args })}
          />
          <button type="button" onClick={() => void ask('look_at', { run: '' })}>
            {trans.__('Close run %1', opened.title)}
          </button>
        </div>
      )}
    </>
  );
}

export default widget<Traits>(RunsWidget, ['rows', 'note', 'opened']);
