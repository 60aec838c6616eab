import React, { useState } from 'react';

import { buildHeader, savedRun } from '../header';
import { thisSecond } from '../serverClock';
import { trans } from '../trans';
import { localChip, RunHeader } from './RunHeader';
import { SLOT, Sentence } from './Sentence';

export interface RunCardProps {
  title: string;
  /** The run as the output of a cell would save the run. */
  run: object;
  /** Reason of a failure. */
  reason: string;
  ended: boolean;
  stopping: boolean;
  /** Whether the server of the run is on this machine. */
  local: boolean;
  /** Whether a cell of the kernel waits for the run. */
  held: boolean;
  /** Whether clicks don't reach the kernel while a cell runs. */
  deaf: boolean;
  onStop: () => Promise<unknown>;
  onDetach: () => Promise<unknown>;
}

/** Milliseconds before a click counts as lost. Each click only starts an action, which takes no time. */
const UNHEARD = 3_000;

/** A run as reported by Python: the same header as in its cell, and the reason of a failure. */
export function RunCard({ title, run, reason, local, ended, stopping, held, deaf, onStop, onDetach }: RunCardProps) {
  const [busy, setBusy] = useState(false);
  const [unheard, setUnheard] = useState(false); // Lab before 4.4 delivers no messages while a cell runs
  const saved = savedRun(run);
  if (!saved) {
    return null; // no data of the run yet
  }
  const during = (work: () => Promise<unknown>) => () => {
    setBusy(true);
    const deadline = setTimeout(() => setUnheard(true), UNHEARD);
    void work()
      .catch(() => undefined)
      .finally(() => {
        clearTimeout(deadline);
        setBusy(false);
        setUnheard(false);
      });
  };
  const second = thisSecond();
  const state = stopping && !ended ? { ...saved, state: 'stopping' } : saved;
  const header = buildHeader(state, undefined, { now: 1000 * second, second, isLive: true, since: 0, silent: null });
  return (
    <>
      <RunHeader
        header={header}
        chip={local ? localChip(header) : null}
        isStopping={busy || stopping}
        onStop={deaf ? undefined : during(onStop)}
        onDetach={held && !deaf ? during(onDetach) : undefined}
      />
      {reason && <p className="lk-notice lk-error">{reason}</p>}
      {!ended && (deaf || unheard) && <DeafKernel title={title} />}
    </>
  );
}

function DeafKernel({ title }: { title: string }) {
  return (
    <p className="lk-quiet" role="status">
      <Sentence
        text={trans.__(
          "This button doesn't work while a cell runs in this kernel. To abort the run, interrupt its cell (■ in the toolbar, or press I twice), or run %1.",
          SLOT
        )}
      >
        <code>%lk_abort {title}</code>
      </Sentence>
    </p>
  );
}
