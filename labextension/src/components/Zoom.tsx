import React, { KeyboardEvent, ReactNode, useEffect, useRef, useState } from 'react';

import { trans } from '../trans';
import { IconButton } from './Icon';
import { moveSpan, Span } from './metrics';
import { OnSpan } from './plot';

/** Milliseconds that a span must stay before points are requested. */
const REST = 250;

const KEYS: Record<string, [by: number, shift: number]> = {
  ArrowLeft: [1, -0.25],
  ArrowRight: [1, 0.25],
  '+': [0.5, 0],
  '-': [2, 0]
};

export interface ZoomProps {
  /** The span of the complete data. */
  fullSpan: Span;
  /** Called when another span has been shown for a moment; null is the complete data. */
  onWindow?: (span: Span | null) => void;
  isEmpty: boolean;
  /** What is before and after the buttons. */
  before?: ReactNode;
  after?: (span: Span) => ReactNode;
  /** Draw the plots of a span. */
  children: (span: Span, show: OnSpan) => ReactNode;
}

/** Plots with buttons and keys that zoom and move their common axis. */
export function Zoom({ fullSpan, onWindow, isEmpty, before, after, children }: ZoomProps) {
  const [span, setSpan] = useState<Span | null>(null);
  const furthest = useRef<Span>(fullSpan);
  const clock = useRef(0);
  if (!span) {
    furthest.current = fullSpan;
  }
  const visibleSpan = span ?? fullSpan;
  const show: OnSpan = next => {
    setSpan(next);
    window.clearTimeout(clock.current);
    clock.current = window.setTimeout(() => onWindow?.(next), REST);
  };
  const move = (by: number, shift: number) => show(moveSpan(visibleSpan, by, shift, furthest.current));
  const press = (event: KeyboardEvent) => {
    const key = event.key === '=' ? '+' : event.key;
    if (key === '0') {
      show(null);
    } else if (KEYS[key]) {
      move(...KEYS[key]);
    } else {
      return;
    }
    event.preventDefault();
  };
  useEffect(() => () => window.clearTimeout(clock.current), []);
  return (
    <>
      <div className="lk-row lk-metrics-tools" hidden={isEmpty}>
        {before}
        <span role="toolbar" aria-label={trans.__('Window of the plots')}>
          <IconButton icon="more" name={trans.__('Zoom in')} onClick={() => move(0.5, 0)} />
          <IconButton icon="less" name={trans.__('Zoom out')} disabled={!span} onClick={() => move(2, 0)} />
          <IconButton icon="left" name={trans.__('Earlier')} disabled={!span} onClick={() => move(1, -0.5)} />
          <IconButton icon="right" name={trans.__('Later')} disabled={!span} onClick={() => move(1, 0.5)} />
          <IconButton icon="entire" name={trans.__('Entire run')} disabled={!span} onClick={() => show(null)} />
        </span>
        {after?.(visibleSpan)}
      </div>
      <div
        role="group"
        tabIndex={0}
        aria-label={trans.__(
          'Plots. The left and right arrow keys move the plots, + and - zoom, 0 shows the entire run.'
        )}
        onKeyDown={press}
        hidden={isEmpty}
      >
        {children(visibleSpan, show)}
      </div>
    </>
  );
}
