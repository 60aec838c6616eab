/** Sparklines of the GPU and its memory while a run is active. Loaded when the first run is active. */
import React from 'react';

import { hasEnded } from '../runs';
import { trans } from '../trans';
import { SERIES } from '../options';
import { useMetrics, useRecord, VisibilityCheck } from '../panels/useRun';
import { buildCharts, sparkline } from './metrics';

export interface SparklinesProps {
  id: string;
  isVisible: VisibilityCheck;
}

/** Draw the use of the GPU and of its memory, in percent, with the last values. */
export function Sparklines({ id, isVisible }: SparklinesProps) {
  const { answer: run } = useRecord(id, null, isVisible);
  const { frames } = useMetrics(run, null, isVisible);
  const { lines } = buildCharts(frames);
  const names = [trans.__('GPU'), trans.__('memory')]; // in the order of SERIES
  const drawn = names.flatMap((name, at) => {
    const line = lines.find(({ label }) => label === SERIES[at].label);
    const last = line && [...line.samples()].reverse().find(value => !Number.isNaN(value));
    return line && last !== undefined
      ? [{ name, line, words: trans.__('%1 %2 %', name, String(Math.round(last))) }]
      : [];
  });
  if (!drawn.length || !run || hasEnded(run)) {
    return null;
  }
  const words = drawn.map(({ words }) => words).join(', ');
  return (
    <span className="lk-sparklines" role="img" aria-label={words} title={words}>
      {drawn.map(({ name, line, words }) => (
        <span key={name}>
          <svg viewBox="0 0 100 24" preserveAspectRatio="none">
            <path d={sparkline(line, 100)} />
          </svg>
          {words}
        </span>
      ))}
    </span>
  );
}
