import React, { ReactNode } from 'react';

/** Stands in a message where an element comes; no text has this sign. */
export const SLOT = '\ue000';

/** A sentence with an element in it, at the place that its language has it. */
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

/** A sentence with a line of code in it, which isn't broken. */
export function Advice({ text, code }: { text: string; code: string }) {
  return (
    <Sentence text={text}>
      <code className="lk-code">{code}</code>
    </Sentence>
  );
}
