import React, { useState } from 'react';

import { buildHeader, savedRun } from '../header';
import { thisSecond } from '../serverClock';
import { trans } from '../trans';
import { localChip, RunHeader } from './RunHeader';
import { SLOT, Sentence } from './Sentence';

export interface RunCardProps {
  title: string;
  /** What the output of a cell would keep of it. */
  run: object;
  /** Why it did not end well. */
  reason: string;
  ended: boolean;
  stopping: boolean;
  /** Whether the server that it runs on is on this machine. */
  local: boolean;
  /** Whether a cell of the kernel waits for it. */
  held: boolean;
  /** Whether clicks do not reach the kernel while a cell runs. */
  deaf: boolean;
  onStop: () => Promise<unknown>;
  onDetach: () => Promise<unknown>;
}

/** Milliseconds until a click counts as unheard: what it asks for only begins something, which takes none. */
const UNHEARD = 3_000;

/** A run as Python tells it: the header that its cell has, and why it failed. */
export function RunCard({ title, run, reason, local, ended, stopping, held, deaf, onStop, onDetach }: RunCardProps) {
  const [busy, setBusy] = useState(false);
  const [unheard, setUnheard] = useState(false); // a Lab before 4.4 has no line past a cell
  const saved = savedRun(run);
  if (!saved) {
    return null; // nothing was heard of it yet
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
          'This kernel takes no clicks while a cell runs. To abort the run, interrupt its cell (■ in the toolbar, or press I twice), or run %1.',
          SLOT
        )}
      >
        <code>%lk_abort {title}</code>
      </Sentence>
    </p>
  );
}
