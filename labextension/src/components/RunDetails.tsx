import React from 'react';

import { Frame, Span } from './metrics';
import { MetricsPlot } from './MetricsPlot';
import { RunCard, RunCardProps } from './RunCard';
import { Page, RunLog } from './RunLog';

/** Data of the run in the view, from Python. */
export type RunTraits = Omit<RunCardProps, 'onStop' | 'onDetach'> & {
  total: number;
  live: string;
  frames: Frame[];
  empty: string;
};

export type RunDetailsProps = RunTraits & {
  /** Request an action on the run from Python. */
  onAsk: <R>(action: string, args?: object) => Promise<R>;
};

/** A run with header, log and metrics. */
export function RunDetails({ total, live, frames, empty, onAsk, ...run }: RunDetailsProps) {
  const look = (span: Span | null) => onAsk('look', span ? { first: span[0], last: span[1] } : {});
  return (
    <>
      <RunCard {...run} onStop={() => onAsk('stop')} onDetach={() => onAsk('detach')} />
      <RunLog total={total} live={live} ended={run.ended} load={start => onAsk<Page>('lines', { start })} />
      <MetricsPlot frames={frames} empty={empty} onWindow={span => void look(span).catch(() => undefined)} />
    </>
  );
}
