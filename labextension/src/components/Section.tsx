import React, { ReactNode, useEffect, useState } from 'react';

export interface SectionProps {
  title: string;
  /** Said beside the title, such as a count. */
  aside?: string;
  open?: boolean;
  /** Called when it opens or is open when this is given; what it gives is called when it closes, or this is taken. */
  onOpen?: () => () => void;
  children: ReactNode;
}

/** A part of a panel that can be folded; what is folded is not drawn. */
export function Section({ title, aside, open = false, onOpen, children }: SectionProps) {
  const [isOpen, setOpen] = useState(open);
  useEffect(() => (isOpen ? onOpen?.() : undefined), [isOpen, !onOpen]);
  return (
    <section className="lk-section" aria-label={title}>
      <h3>
        <button type="button" className="lk-fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {title}
          {aside && <span className="lk-quiet"> {aside}</span>}
        </button>
      </h3>
      {isOpen && <div className="lk-section-body">{children}</div>}
    </section>
  );
}
