/** Metrics as Python sends them, and as plots want them. */
import uPlot from 'uplot';

export interface Series {
  label: string;
  unit: string;
  /** With which others it is drawn. */
  panel: string;
}

/** The metrics of one run. */
export interface Frame {
  run: string;
  /** The machine that was measured, in the words of the server: it says where GPU figures are simulated. */
  host: string;
  /** Seconds between two samples. */
  step: number;
  series: Series[];
  /** Columns of doubles: seconds since the start, then each of the series. NaN is a gap. */
  points: DataView;
}

export interface Line {
  label: string;
  unit: string;
}

/** Lines that share a scale. */
export interface Panel {
  key: string;
  title: string;
  unit: string;
  lines: Line[];
  /** What is to be drawn of a window: at most about so many points of each line. */
  data: (span: Span, most: number) => uPlot.AlignedData;
  /** All samples of each line; NaN is a gap. */
  samples: () => Float64Array[];
}

/** First and last second of a window. */
export type Span = [number, number];

export interface Summary {
  last: number;
  least: number;
  mean: number;
  most: number;
}

/** The panels of one run hold what has one unit; those of several runs one series each, or they were a tangle. */
export function panelsOf(frames: Frame[]): Panel[] {
  return frames.length === 1 ? ofOne(frames[0]) : ofSeveral(frames);
}

/** The window from the start of the runs to the last sample of any. */
export function wholeOf(frames: Frame[]): Span {
  const ends = frames.map(frame => {
    const count = rowsIn(frame);
    return count ? frame.points.getFloat64(8 * (count - 1), true) : 0;
  });
  return [0, Math.max(1, ...ends)];
}

/** Make a window of a window: `by` zooms (below 1 in, above 1 out), `shift` moves it by a part of itself. */
export function moved([first, last]: Span, by: number, shift: number, whole: Span): Span {
  const middle = (first + last) / 2 + shift * (last - first);
  const half = Math.max(0.5, ((last - first) * by) / 2);
  return [Math.max(whole[0], middle - half), Math.min(Math.max(whole[1], middle), middle + half)];
}

/** What a line comes to; null when it has no sample. */
export function summaryOf(values: Float64Array): Summary | null {
  let [last, least, most, sum, count] = [0, Infinity, -Infinity, 0, 0];
  for (let at = 0; at < values.length; at++) {
    const value = values[at];
    if (!Number.isNaN(value)) {
      last = value;
      least = Math.min(least, value);
      most = Math.max(most, value);
      sum += value;
      count += 1;
    }
  }
  return count ? { last, least, mean: sum / count, most } : null;
}

/** A time span as people write it: 45 s, 3 min 05 s, 2 h 10 min. */
export function spanLabel(seconds: number): string {
  const whole = Math.round(Math.abs(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours) {
    return `${hours} h ${two(minutes)} min`;
  }
  return minutes ? `${minutes} min ${two(rest)} s` : `${rest} s`;
}

/** A figure with as many digits as one reads. */
export function figure(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 1 });
}

const two = (part: number) => String(part).padStart(2, '0');

function ofOne(frame: Frame): Panel[] {
  const names = [...new Set(frame.series.map(series => series.panel))];
  return names.map(name => {
    const places = frame.series.flatMap((series, at) => (series.panel === name ? [at] : []));
    const lines = places.map(at => frame.series[at]);
    return panel(lines.length > 1 ? name : lines[0].label, lines[0].unit, lines, [{ frame, places }]);
  });
}

function ofSeveral(frames: Frame[]): Panel[] {
  const all = new Map(frames.flatMap(frame => frame.series.map(series => [series.label, series] as const)));
  return [...all.values()].map(({ label, unit }) => {
    const having = frames.flatMap(frame => {
      const at = frame.series.findIndex(series => series.label === label);
      return at < 0 ? [] : [{ frame, places: [at] }];
    });
    const lines = having.map(({ frame }) => ({ label: frame.run, unit }));
    return panel(label, unit, lines, having);
  });
}

type Part = { frame: Frame; places: number[] };

function panel(title: string, unit: string, lines: Line[], parts: Part[]): Panel {
  const tables = () => parts.map(({ frame, places }) => [column(frame, 0), ...places.map(at => column(frame, at + 1))]);
  return {
    key: [title, ...lines.map(line => line.label)].join('\n'),
    title,
    unit,
    lines,
    samples: () => tables().flatMap(([, ...values]) => values),
    data: (span, most) => {
      const drawn = tables().map(([x, ...values]) => thinned(x, values, span, most));
      return drawn.length === 1 ? drawn[0] : uPlot.join(drawn);
    }
  };
}

const columns = new WeakMap<Frame, Map<number, Float64Array>>();

/** A column of a frame, taken when it is first wanted: a day of all at once would hold up the page. */
function column(frame: Frame, at: number): Float64Array {
  const known = columns.get(frame) ?? new Map<number, Float64Array>();
  columns.set(frame, known);
  let found = known.get(at);
  if (!found) {
    const size = 8 * rowsIn(frame);
    const begin = frame.points.byteOffset + at * size;
    found = new Float64Array(frame.points.buffer.slice(begin, begin + size)); // a view may start anywhere
    known.set(at, found);
  }
  return found;
}

function rowsIn(frame: Frame): number {
  return frame.points.byteLength / 8 / (frame.series.length + 1);
}

/**
 * What is seen of a window: where many points share a pixel, the least and the most of them, so that no peak is lost.
 * A gap among them leaves the place of the second empty.
 */
export function thinned(x: Float64Array, lines: Float64Array[], [first, last]: Span, most: number): uPlot.AlignedData {
  const from = Math.max(0, place(x, first) - 1);
  const to = Math.min(x.length, place(x, last) + 2);
  const size = Math.ceil((to - from) / most);
  if (size <= 2) {
    const known = (value: number) => (Number.isNaN(value) ? null : value);
    return [x.slice(from, to), ...lines.map(line => Array.from(line.subarray(from, to), known))];
  }
  const count = Math.ceil((to - from) / size);
  const moments = new Float64Array(2 * count);
  for (let at = 0; at < count; at++) {
    const begin = from + at * size;
    moments[2 * at] = x[begin];
    moments[2 * at + 1] = x[Math.min(to - 1, begin + (size >> 1))];
  }
  return [moments, ...lines.map(line => extremes(line, from, to, size, count))];
}

function extremes(line: Float64Array, from: number, to: number, size: number, count: number): (number | null)[] {
  const found = new Array<number | null>(2 * count);
  for (let at = 0; at < count; at++) {
    const end = Math.min(to, from + (at + 1) * size);
    let [least, most, hasGap] = [Infinity, -Infinity, false];
    for (let index = from + at * size; index < end; index++) {
      const value = line[index];
      if (value < least) least = value;
      if (value > most) most = value;
      if (value !== value) hasGap = true;
    }
    found[2 * at] = most === -Infinity ? null : most;
    found[2 * at + 1] = hasGap || least === Infinity ? null : least;
  }
  return found;
}

/** The first place whose moment is not before this one. */
function place(x: Float64Array, moment: number): number {
  let [low, high] = [0, x.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < moment) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
