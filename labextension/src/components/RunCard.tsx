import React, { useState } from 'react';

import { trans } from '../trans';
import { HERE, Sentence } from './Sentence';

export interface RunCardProps {
  title: string;
  /** Names and words, the state first. */
  facts: [string, string][];
  /** Why it did not end well. */
  reason: string;
  ended: boolean;
  stopping: boolean;
  /** Whether a cell of the kernel waits for it. */
  held: boolean;
  /** Whether clicks do not reach the kernel while a cell runs. */
  deaf: boolean;
  onStop: () => Promise<unknown>;
  onDetach: () => Promise<unknown>;
}

/** What there is to know of a run, and the buttons that end it or its cell. */
export function RunCard(props: RunCardProps) {
  const { title, facts, reason, ended } = props;
  return (
    <section aria-label={trans.__('Run %1', title)}>
      <dl className="lk-facts">
        {facts.map(([name, words]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
      {reason && <p className="lk-notice lk-error">{reason}</p>}
      {!ended && (props.deaf ? <DeafKernel title={title} /> : <Buttons {...props} />)}
    </section>
  );
}

function Buttons({ stopping, held, onStop, onDetach }: RunCardProps) {
  const [busy, setBusy] = useState(false);
  const during = (work: Promise<unknown>) => {
    setBusy(true);
    void work.catch(() => undefined).finally(() => setBusy(false));
  };
  return (
    <div className="lk-row">
      <button type="button" disabled={busy || stopping} onClick={() => during(onStop())}>
        {trans.__('■ Abort the run')}
      </button>
      {held && (
        <button type="button" disabled={busy} onClick={() => during(onDetach())}>
          {trans.__('Detach (keep running)')}
        </button>
      )}
      <span role="status">{stopping && trans.__('Aborting …')}</span>
    </div>
  );
}

function DeafKernel({ title }: { title: string }) {
  return (
    <p className="lk-quiet">
      <Sentence
        text={trans.__(
          'This kernel takes no clicks while a cell runs. To abort the run, interrupt its cell (■ in the toolbar, or press I twice), or run %1.',
          HERE
        )}
      >
        <code>%lk_abort {title}</code>
      </Sentence>
    </p>
  );
}
