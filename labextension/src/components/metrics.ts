/** Convert metrics from Python into data for plots. */
import uPlot from 'uplot';

export interface Series {
  label: string;
  unit: string;
  /** Name of the panel that shows the series. */
  panel: string;
}

/** The metrics of a run. */
export interface Frame {
  run: string;
  /** The measured machine as the server calls it. The name shows whether GPU figures are simulated. */
  host: string;
  /** Seconds between two samples. */
  step: number;
  series: Series[];
  /** Columns of doubles: seconds since the start, then a column for each series. NaN is a gap. */
  points: DataView;
}

/** A series of a run. */
export interface Line {
  /** Name of the series. */
  label: string;
  run: string;
  /** Label in the chart: the series if there is one run, otherwise the run. */
  name: string;
  unit: string;
  /** Number of the colour and dashes: by series if there is one run, otherwise by run. */
  ink: number;
  /** All samples; NaN is a gap. */
  samples: () => Float64Array;
}

/** Lines that share a scale. */
export interface Panel {
  key: string;
  title: string;
  unit: string;
  lines: Line[];
  /** Maximum values of the lines, drawn as rules. */
  limits: number[];
  /** Whether the axis counts steps, not seconds. */
  isStep?: boolean;
  /** Return data of a time span with at most about `most` points for each line. */
  data: (span: Span, most: number) => uPlot.AlignedData;
}

/** The charts of all runs. */
export interface Charts {
  panels: Panel[];
  /** The most important series, each with its lines. */
  tiles: Line[][];
  /** Constant series, which need no chart. */
  constant: Line[];
  /** All lines, for the table. */
  lines: Line[];
}

/** First and last second of a time span. */
export type Span = [number, number];

export interface Summary {
  last: number;
  least: number;
  mean: number;
  most: number;
}

/** The most important series, in this order. */
const FIRST = ['GPU utilization', 'GPU memory', 'GPU power', 'RAM used', 'CPU'];
const MOST_TILES = 4;

/** Series → series with its limit. */
const LIMITS: Record<string, string> = { 'GPU power': 'GPU power limit', 'RAM used': 'RAM total' };
const IS_LIMIT = new Set(Object.values(LIMITS));

/** Build the charts. A panel has one unit if there is one run, and one series if there are several runs. */
export function buildCharts(frames: Frame[]): Charts {
  const isOne = frames.length === 1;
  const all = frames.flatMap((frame, at) => frameParts(frame, at, isOne));
  const still = new Set(all.filter(({ line }) => !FIRST.includes(line.label) && constantValue(line) !== undefined));
  const groups = grouped(
    all.filter(part => !still.has(part)),
    ({ line, series }) => (isOne ? series.panel : line.label)
  );
  const panels = [...groups].map(([name, parts]) => buildPanel(name, parts, isOne, [...still]));
  const byLabel = grouped(
    all.map(({ line }) => line),
    line => line.label
  );
  const ranked = FIRST.flatMap(name => (byLabel.has(name) ? [byLabel.get(name)!] : []));
  return {
    panels: panels.sort((one, other) => rank(one) - rank(other)),
    tiles: ranked.slice(0, MOST_TILES),
    constant: [...still]
      .map(({ line }) => line)
      .filter(line => !IS_LIMIT.has(line.label) && constantValue(line) !== null),
    lines: all.map(({ line }) => line)
  };
}

function rank({ lines }: Panel): number {
  const places = lines.map(line => FIRST.indexOf(line.label)).filter(place => place >= 0);
  return Math.min(FIRST.length, ...places);
}

/** Return the time from the start of the runs to the last sample of any run. */
export function entireSpan(frames: Frame[]): Span {
  const ends = frames.map(frame => {
    const count = rowsIn(frame);
    return count ? frame.points.getFloat64(8 * (count - 1), true) : 0;
  });
  return [0, Math.max(1, ...ends)];
}

/** Zoom a time span by `by` (below 1 in, above 1 out) and move the span by the fraction `shift` of its length. */
export function moveSpan([first, last]: Span, by: number, shift: number, limits: Span): Span {
  const middle = (first + last) / 2 + shift * (last - first);
  const half = Math.max(0.5, ((last - first) * by) / 2);
  return [Math.max(limits[0], middle - half), Math.min(Math.max(limits[1], middle), middle + half)];
}

/** Return last, least, mean and peak value of a line; null without samples. */
export function summarize(values: Float64Array): Summary | null {
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

/** Format a duration: 45 s, 3 min 05 s, 2 h 10 min. */
export function spanLabel(seconds: number): string {
  const total = Math.round(Math.abs(seconds));
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  if (hours) {
    return `${hours} h ${two(minutes)} min`;
  }
  return minutes ? `${minutes} min ${two(rest)} s` : `${rest} s`;
}

/** Format a number with as many digits as people read. */
export function figure(value: number): string {
  const size = Math.abs(value);
  const digits = size < 0.1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: size < 10 ? 2 : 1 };
  return value.toLocaleString('en', digits);
}

const two = (part: number) => String(part).padStart(2, '0');

type Part = { line: Line; series: Series; frame: Frame; place: number };

function frameParts(frame: Frame, ink: number, isOne: boolean): Part[] {
  const { run } = frame;
  return frame.series.map((series, place) => {
    const { label, unit } = series;
    return {
      series,
      frame,
      place,
      line: { label, unit, run, name: isOne ? label : run, ink, samples: () => column(frame, place + 1) }
    };
  });
}

function grouped<T>(things: T[], getName: (thing: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const thing of things) {
    const name = getName(thing);
    groups.set(name, [...(groups.get(name) ?? []), thing]);
  }
  return groups;
}

function buildPanel(name: string, parts: Part[], isOne: boolean, still: Part[]): Panel {
  const lines = parts.map(({ line }, at) => (isOne ? { ...line, ink: at } : line));
  const over = new Set(lines.map(line => LIMITS[line.label]).filter(Boolean));
  const ceilings = still.filter(({ line }) => over.has(line.label)).map(({ line }) => constantValue(line));
  const limits = [...new Set(ceilings)].filter((limit): limit is number => typeof limit === 'number');
  const byFrame = [...new Set(parts.map(({ frame }) => frame))].map(frame => ({
    frame,
    places: parts.filter(part => part.frame === frame).map(({ place }) => place)
  }));
  const tables = () =>
    byFrame.map(({ frame, places }) => [column(frame, 0), ...places.map(at => column(frame, at + 1))]);
  return {
    key: [name, ...limits, ...lines.map(line => `${line.label} ${line.run}`)].join('\n'),
    title: lines.every(line => line.label === lines[0].label) ? lines[0].label : name,
    unit: lines[0].unit,
    lines,
    limits,
    data: (span, most) => {
      const drawn = tables().map(([x, ...values]) => thinned(x, values, span, most));
      return drawn.length === 1 ? drawn[0] : uPlot.join(drawn);
    }
  };
}

/** Return the value of a constant line; null without samples, undefined if the line changes. */
export function constantValue({ samples }: Line): number | null | undefined {
  let constant: number | null = null;
  for (const value of samples()) {
    if (!Number.isNaN(value) && value !== (constant ??= value)) {
      return undefined;
    }
  }
  return constant;
}

const PIECES = 60;

/** Return a path of the peaks of a line, in a box of 100 by 24. Gaps break the path. */
export function sparkline(line: Line, ceiling: number): string {
  const values = line.samples();
  const size = Math.max(1, Math.ceil(values.length / PIECES));
  const count = Math.ceil(values.length / size);
  const drawn = extremes(values, 0, values.length, size, count);
  const step = 100 / Math.max(1, count - 1);
  let [path, isDown] = ['', false];
  for (let at = 0; at < count; at++) {
    const most = drawn[2 * at];
    if (most !== null) {
      const place = `${(at * step).toFixed(1)} ${(23 - (22 * most) / (ceiling || 1)).toFixed(1)}`;
      path += isDown ? `L${place}` : `M${place}h.1`;
    }
    isDown = most !== null;
  }
  return path;
}

/** Return the value at or near an index, because several runs aren't sampled at the same times; null in a gap. */
export function near(values: ArrayLike<number | null | undefined>, place: number): number | null {
  for (let away = 0; away < 9; away++) {
    const value = [values[place - away], values[place + away]].find(value => value !== undefined);
    if (value !== undefined) {
      return value;
    }
  }
  return null;
}

const columns = new WeakMap<Frame, Map<number, Float64Array>>();

/** Read a column of a frame on first use: all columns of a day would block the page. */
function column(frame: Frame, at: number): Float64Array {
  const cached = columns.get(frame) ?? new Map<number, Float64Array>();
  columns.set(frame, cached);
  let values = cached.get(at);
  if (!values) {
    const size = 8 * rowsIn(frame);
    const begin = frame.points.byteOffset + at * size;
    values = new Float64Array(frame.points.buffer.slice(begin, begin + size)); // a view may start anywhere
    cached.set(at, values);
  }
  return values;
}

function rowsIn(frame: Frame): number {
  return frame.points.byteLength / 8 / (frame.series.length + 1);
}

/**
 * Reduce lines to the pixels of a time span. If several points share a pixel, keep the least and the greatest, so that
 * no peak is lost. With a gap among them, the second value is empty.
 */
export function thinned(x: Float64Array, lines: Float64Array[], [first, last]: Span, most: number): uPlot.AlignedData {
  const from = Math.max(0, place(x, first) - 1);
  const to = Math.min(x.length, place(x, last) + 2);
  const size = Math.ceil((to - from) / most);
  if (size <= 2) {
    const toNull = (value: number) => (Number.isNaN(value) ? null : value);
    return [x.slice(from, to), ...lines.map(line => Array.from(line.subarray(from, to), toNull))];
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
  const pairs = new Array<number | null>(2 * count);
  for (let at = 0; at < count; at++) {
    const end = Math.min(to, from + (at + 1) * size);
    let [least, most, hasGap] = [Infinity, -Infinity, false];
    for (let index = from + at * size; index < end; index++) {
      const value = line[index];
      if (value < least) least = value;
      if (value > most) most = value;
      if (value !== value) hasGap = true;
    }
    pairs[2 * at] = most === -Infinity ? null : most;
    pairs[2 * at + 1] = hasGap || least === Infinity ? null : least;
  }
  return pairs;
}

/** Return the first index whose time isn't before a moment. */
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
