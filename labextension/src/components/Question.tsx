import React, { KeyboardEvent, useEffect, useRef } from 'react';

import { trans } from '../trans';

/** A question before an action. */
export interface QuestionContent {
  text: string;
  /** Label of the button that confirms. */
  yes: string;
  onYes: () => void;
  /** An alternative action. */
  other?: { text: string; onChosen: () => void };
  onNo?: () => void;
}

/** Return a handler of keys that cancels a question or a form at Escape. */
export const onEscape = (cancel: () => void) => (event: KeyboardEvent) => {
  if (event.key === 'Escape') {
    event.stopPropagation();
    cancel();
  }
};

/** Action for a file whose name an object already has. */
export type Conflict = 'overwrite' | 'keep-both' | 'cancel';

/** Prompt for the action on an upload whose name an object already has. */
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

/** Show a question before an action. Focus starts on the harmless answer, same as Escape, and returns afterwards. */
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
  return (
    <div
      className="lk-row lk-question"
      role="alertdialog"
      aria-label={question.text}
      onKeyDown={onEscape(end(question.onNo))}
    >
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
