/** Sparklines of GPU, memory and RAM while a run is active. Loaded when the first run is active. */
import React from 'react';

import '../../style/panel.css';
import { hasEnded } from '../runs';
import { trans } from '../trans';
import { useMetrics, useRecord, VisibilityCheck } from '../panels/useRun';
import { buildCharts, figure, Line, sparkline } from './metrics';

export interface SparklinesProps {
  id: string;
  isVisible: VisibilityCheck;
}

interface Gauge {
  label: string;
  name: string;
  /** Series with the limit of the gauge; without one, the gauge is in percent. */
  limit?: string;
  /** Whether a narrow page leaves out the gauge, so that its toolbar keeps the kernel. */
  isMinor?: boolean;
}

/** The gauges in their order. The CPU is shown for machines without a GPU. */
const gauges = (): Gauge[] => [
  { label: 'GPU utilization', name: trans.__('GPU') },
  { label: 'GPU memory', name: trans.__('memory') },
  { label: 'CPU', name: trans.__('CPU'), isMinor: true },
  { label: 'RAM used', name: trans.__('RAM'), limit: 'RAM total', isMinor: true }
];

/** Draw the use of the GPU, its memory and the RAM, with the last values. */
export function Sparklines({ id, isVisible }: SparklinesProps) {
  const { answer: run } = useRecord(id, null, isVisible);
  const { frames } = useMetrics(run, null, isVisible);
  const { lines } = buildCharts(frames);
  const findLine = (label?: string) => lines.find(line => line.label === label);
  const hasGpu = !!findLine('GPU utilization');
  const drawn = gauges().flatMap(({ label, name, limit, isMinor }) => {
    const line = label === 'CPU' && hasGpu ? undefined : findLine(label);
    const last = lastSample(line);
    const most = limit ? lastSample(findLine(limit)) : 100;
    if (!line || last === undefined || most === undefined) {
      return [];
    }
    const short = trans.__('%1 %2 %', name, String(Math.round((100 * last) / (most || 1))));
    const words = limit ? trans.__('%1 (%2 of %3 GiB)', short, figure(last), figure(most)) : short;
    return [{ name, line, most, short, words, isMinor }];
  });
  if (!drawn.length || !run || hasEnded(run)) {
    return null;
  }
  const words = drawn.map(({ words }) => words).join(', ');
  return (
    <span className="lk-sparklines" role="img" aria-label={words} title={words}>
      {drawn.map(({ name, line, most, short, isMinor }) => (
        <span key={name} className={isMinor ? 'lk-minor' : ''}>
          <svg viewBox="0 0 100 24" preserveAspectRatio="none">
            <path d={sparkline(line, most)} />
          </svg>
          {short}
        </span>
      ))}
    </span>
  );
}

function lastSample(line: Line | undefined): number | undefined {
  return line && [...line.samples()].reverse().find(value => !Number.isNaN(value));
}
