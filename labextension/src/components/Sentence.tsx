import React, { ReactNode } from 'react';

/** Placeholder for an element in a message; no text contains this character. */
export const SLOT = '\ue000';

/** A sentence with an element, at the position of the translation. */
export function Sentence({ text, children }: { text: string; children: ReactNode }) {
  const [before, after] = text.split(SLOT);
  return (
    <>
      {before}
      {children}
      {after}
    </>
  );
}

/** A sentence with a line of code that doesn't break. */
export function Advice({ text, code }: { text: string; code: string }) {
  return (
    <Sentence text={text}>
      <code className="lk-code">{code}</code>
    </Sentence>
  );
}
