import React from 'react';

import { costUnknown, silenceLabel } from '../header';
import { trans } from '../trans';

/** The time since the last answer of the cloud, where active runs would show their time and cost. */
export function Silence({ seconds }: { seconds: number }) {
  return (
    <p className="lk-quiet">
      <span role="status" className="lk-unseen">
        {trans.__('No answer')}
      </span>
      {`${silenceLabel(seconds)} · ${costUnknown()}`}
    </p>
  );
}
