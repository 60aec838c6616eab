import React from 'react';

/** What a view says in words: why it is empty, what is wrong and what to do. */
export type NoticeText = { kind: 'info' | 'warning' | 'error'; text: string };

const SIGNS = { info: '', warning: '⚠ ', error: '✗ ' };

export function Notice({ notice }: { notice: NoticeText }) {
  return (
    <p
      className={`lk-notice lk-${notice.kind}`}
      role={notice.kind === 'error' ? 'alert' : 'status'}
      hidden={!notice.text}
    >
      {SIGNS[notice.kind] + notice.text}
    </p>
  );
}
