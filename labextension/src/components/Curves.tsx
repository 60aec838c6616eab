import React, { useId, useMemo } from 'react';

import { trans } from '../trans';
import { curvePanels, RunCurves, stepSpan } from './curvePanels';
import { stepLabel } from './scalars';
import { FoldedPlots, Runs } from './MetricsPlot';
import { Zoom } from './Zoom';

export interface CurvesProps {
  runs: RunCurves[];
  /** Names of the numbers, the most important first. */
  names: string[];
  /** Number of charts that are open initially. */
  open: number;
  /** What replaces the charts if there are none. */
  empty?: string;
}

/** Runs in a legend; the table of more runs shows their lines. */
const MOST_IN_LEGEND = 12;

/** The printed numbers of runs, overlaid, with a common axis of steps that zooms. */
export function Curves({ runs, names, open, empty = '' }: CurvesProps) {
  const sync = useId();
  const panels = useMemo(() => curvePanels(runs, names), [runs, names]);
  const fullSpan = useMemo(() => stepSpan(runs), [runs]);
  const hasLegend = runs.length > 1 && runs.length <= MOST_IN_LEGEND;
  return (
    <div className="lk-metrics">
      {!panels.length && empty && <p role="status">{empty}</p>}
      <Zoom
        fullSpan={fullSpan}
        isEmpty={!panels.length}
        before={hasLegend && <Runs runs={runs} />}
        after={span => (
          <span className="lk-quiet" role="status">
            {trans.__('Step %1 to %2', stepLabel(Math.round(span[0])), stepLabel(Math.round(span[1])))}
          </span>
        )}
      >
        {(span, show) => <FoldedPlots panels={panels} open={open} span={span} sync={sync} onSpan={show} />}
      </Zoom>
    </div>
  );
}
