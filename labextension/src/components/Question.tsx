import React, { KeyboardEvent, useEffect, useRef } from 'react';

import { trans } from '../trans';

/** Something that is done only when somebody says yes. */
export interface QuestionContent {
  text: string;
  /** The word on the button that does it. */
  yes: string;
  onYes: () => void;
  /** Another way to do it. */
  other?: { text: string; onChosen: () => void };
  onNo?: () => void;
}

/** What becomes of an object that has the name of a file which is uploaded. */
export type Conflict = 'overwrite' | 'keep-both' | 'cancel';

/** Ask what to do with a file for which there is an object already. */
export function askAboutConflict(key: string, ask: (question: QuestionContent) => void): Promise<Conflict> {
  const at = key.lastIndexOf('/') + 1;
  const [folder, name] = [key.slice(0, at), key.slice(at)];
  const text = folder
    ? trans.__('%1 already exists in %2. Overwrite it?', name, folder)
    : trans.__('%1 already exists in the bucket. Overwrite it?', name);
  return new Promise(answer =>
    ask({
      text,
      yes: trans.__('Overwrite'),
      onYes: () => answer('overwrite'),
      other: { text: trans.__('Keep both'), onChosen: () => answer('keep-both') },
      onNo: () => answer('cancel')
    })
  );
}

/** Asks before it is done. Keys begin at the harmless answer, which Escape gives too; then they are where they were. */
export function Question({ question, onEnd }: { question: QuestionContent; onEnd: () => void }) {
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
      end(question.onNo)();
    }
  };
  return (
    <div className="lk-row lk-question" role="alertdialog" aria-label={question.text} onKeyDown={press}>
      <span>{question.text}</span>
      <button type="button" onClick={end(question.onYes)}>
        {question.yes}
      </button>
      {question.other && (
        <button type="button" onClick={end(question.other.onChosen)}>
          {question.other.text}
        </button>
      )}
      <button type="button" ref={no} onClick={end(question.onNo)}>
        {trans.__('Cancel')}
      </button>
    </div>
  );
}
