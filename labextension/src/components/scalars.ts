/** Numbers that runs print: parse saved curves, and draw them small. Headers use this, so no plots are imported. */
import { unturned } from '../trans';
import type { CurveContent } from '../types';

export type Curve = CurveContent;

/** Limits of a saved output, which may come from a stranger. */
const MOST_CURVES = 20;
const MOST_POINTS = 5000;

/** Return the curves saved in an output; other data is left out. */
export function savedCurves(value: unknown): Curve[] {
  const all = Array.isArray(value) ? value.slice(0, MOST_CURVES) : [];
  return all.flatMap((each: unknown) => {
    const { name, steps, values } = (each ?? {}) as Record<string, unknown>;
    if (typeof name !== 'string' || !Array.isArray(steps) || !Array.isArray(values)) {
      return [];
    }
    const count = Math.min(steps.length, values.length, MOST_POINTS);
    const isValid = steps.slice(0, count).every((step, at) => Number.isFinite(step) && (!at || step > steps[at - 1]));
    const numbers = values.slice(0, count).map(value => (Number.isFinite(value) ? (value as number) : null));
    return isValid ? [{ name: unturned(name), steps: steps.slice(0, count) as number[], values: numbers }] : [];
  });
}

/** Return the last finite value of a curve; null without one. */
export function lastValue({ values }: Curve): number | null {
  for (let at = values.length - 1; at >= 0; at--) {
    if (values[at] !== null) {
      return values[at];
    }
  }
  return null;
}

/** Format a value of a curve with as many digits as people compare, or with the decimals of its column. */
export function valueLabel(value: number, decimals?: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    return value.toExponential(1);
  }
  return decimals === undefined ? String(Number(value.toPrecision(4))) : value.toFixed(decimals);
}

/** Return the decimals with which all values of a column are shown. */
export function columnDecimals(values: number[]): number {
  const labels = values.map(value => valueLabel(value)).filter(label => !label.includes('e'));
  return Math.max(0, ...labels.map(label => (label.split('.')[1] ?? '').length));
}

/** Points of a sparkline, which is 48 pixels wide. */
const MOST_DRAWN = 60;

/** Return a part of the points of a curve, evenly spread, and the last. */
function thinnedCurve({ name, steps, values }: Curve): Curve {
  const each = Math.ceil(steps.length / MOST_DRAWN);
  const isDrawn = (_: unknown, at: number) => at % each === 0 || at === steps.length - 1;
  return each > 1 ? { name, steps: steps.filter(isDrawn), values: values.filter(isDrawn) } : { name, steps, values };
}

/** Return a path of a curve in a box of 100 by 24, from its lowest to its highest value; gaps break the path. */
export function curvePath(curve: Curve): string {
  const { steps, values } = thinnedCurve(curve);
  const finite = values.filter(value => value !== null);
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  const [first, last] = [steps[0], steps[steps.length - 1]];
  let [path, isDown] = ['', false];
  values.forEach((value, at) => {
    if (value !== null) {
      const x = last > first ? (100 * (steps[at] - first)) / (last - first) : 50;
      const y = most > least ? 22 - (20 * (value - least)) / (most - least) : 12;
      path += `${isDown ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    }
    isDown = value !== null;
  });
  return path;
}

/** Format a step of an axis. */
export const stepLabel = (step: number): string =>
  Number.isInteger(step) ? step.toLocaleString('en') : String(Number(step.toPrecision(4)));
