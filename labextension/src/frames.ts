/** Convert metrics of the API into frames for plots. */
import { SERIES } from './options';
import { ExecutionMetrics, MetricPoint } from './types';
import { moment } from './format';
import { Frame } from './components/metrics';

/** Maximum number of points in a series. */
const MOST_POINTS = 1000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];

/** Steps between two samples from which a plot shows a gap. */
const GAP = 1.5;

/** Return the step in seconds at which a time span has no more points than a plot can show. */
export function stepFor(seconds: number): number {
  const needed = seconds / MOST_POINTS;
  return STEPS.find(step => step >= needed) ?? Math.ceil(needed / 86400) * 86400;
}

/** Build a frame; `start` is the start of the run's code in Unix seconds. */
export function buildFrame(answer: ExecutionMetrics, start: number, step: number): Frame {
  const columns = SERIES.map(each => ({ ...each, samples: scaleSamples(answer[each.field] ?? [], each.factor) }));
  const measured = columns.filter(({ samples }) => samples.size);
  const times = withGaps(
    [...new Set(measured.flatMap(({ samples }) => [...samples.keys()]))].sort((a, b) => a - b),
    step
  );
  const points = new Float64Array([
    ...times.map(time => time - start),
    ...measured.flatMap(({ samples }) => times.map(time => samples.get(time) ?? NaN))
  ]);
  return {
    run: (answer.executionId ?? '').slice(0, 8),
    host: answer.hostname ?? '',
    step,
    series: measured.map(({ label, unit, panel }) => ({ label, unit, panel })),
    points: new DataView(points.buffer)
  };
}

function scaleSamples(points: MetricPoint[], factor: number): Map<number, number> {
  return new Map(points.map(({ timestamp, value }) => [moment(timestamp)!, value == null ? NaN : value * factor]));
}

/** Add one time to each gap, so that lines break there. */
function withGaps(times: number[], step: number): number[] {
  return times.flatMap((time, at) => (at && time - times[at - 1] > step * GAP ? [times[at - 1] + step, time] : [time]));
}
