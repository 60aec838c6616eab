import React from 'react';

import { Signed } from './Icon';

/** A message of a view: an empty state, or an error with its fix. */
export type NoticeText = { kind: 'info' | 'warning' | 'error'; text: string };

const SIGNS = { info: '', warning: '⚠ ', error: '✗ ' };

export function Notice({ notice }: { notice: NoticeText }) {
  return (
    <p
      className={`lk-notice lk-${notice.kind}`}
      role={notice.kind === 'error' ? 'alert' : 'status'}
      hidden={!notice.text}
    >
      {notice.text && <Signed text={SIGNS[notice.kind] + notice.text} />}
    </p>
  );
}
