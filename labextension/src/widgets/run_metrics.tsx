import React from 'react';

import { Frame } from '../components/metrics';
import { MetricsPlot } from '../components/MetricsPlot';
import { Props, widget } from './view';

type Traits = { frames: Frame[]; empty: string };

function RunMetricsWidget({ frames, empty, ask }: Props<Traits>) {
  const look = (span: [number, number] | null) => ask('look', span ? { first: span[0], last: span[1] } : {});
  return <MetricsPlot frames={frames} empty={empty} onWindow={span => void look(span).catch(() => undefined)} />;
}

export default widget<Traits>(RunMetricsWidget, ['frames', 'empty']);
