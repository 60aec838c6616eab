import React, { KeyboardEvent, useEffect, useRef } from 'react';

import { trans } from '../trans';

/** Something that is done only when somebody says yes. */
export interface Asked {
  text: string;
  /** The word on the button that does it. */
  yes: string;
  onYes: () => void;
  onNo?: () => void;
}

/** Asks before it is done. Keys begin at the harmless answer, which Escape gives too; then they are where they were. */
export function Question({ asked, onEnd }: { asked: Asked; onEnd: () => void }) {
  const no = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    no.current?.focus();
    return () => before?.focus();
  }, []);
  const end = (act?: () => void) => () => {
    onEnd();
    act?.();
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      end(asked.onNo)();
    }
  };
  return (
    <div className="lk-row lk-question" role="alertdialog" aria-label={asked.text} onKeyDown={press}>
      <span>{asked.text}</span>
      <button type="button" onClick={end(asked.onYes)}>
        {asked.yes}
      </button>
      <button type="button" ref={no} onClick={end(asked.onNo)}>
        {trans.__('Cancel')}
      </button>
    </div>
  );
}
