/** Panels of the numbers that runs print, with a line for each run. */
import uPlot from 'uplot';

import { Curve } from './scalars';
import { Line, Panel, Span, thinned } from './metrics';

/** The curves of a run. `ink` is the number of its colour and dashes. */
export interface RunCurves {
  run: string;
  ink: number;
  curves: Curve[];
}

/** Points of all lines of a panel that are drawn in one frame. */
const MOST_DRAWN = 15_000;

/** Return the first and the last step of all curves. */
export function stepSpan(runs: RunCurves[]): Span {
  const steps = runs.flatMap(({ curves }) => curves.flatMap(({ steps }) => [steps[0], steps[steps.length - 1]]));
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  return steps.length ? [first, Math.max(last, first + 1)] : [0, 1];
}

/** Build a panel for each name, with a line for each run that has printed the number. */
export function curvePanels(runs: RunCurves[], names: string[]): Panel[] {
  return names.flatMap(name => {
    const parts = runs.flatMap(({ run, ink, curves }) => {
      const curve = curves.find(each => each.name === name);
      return curve ? [{ run, ink, columns: toColumns(curve) }] : [];
    });
    if (!parts.length) {
      return [];
    }
    const lines: Line[] = parts.map(({ run, ink, columns }) => ({
      label: name,
      run,
      name: runs.length > 1 ? run : name,
      unit: '',
      ink,
      samples: () => columns[1]
    }));
    const data = (span: Span, most: number): uPlot.AlignedData => {
      const each = Math.max(50, Math.min(most, Math.floor(MOST_DRAWN / parts.length)));
      return joined(parts.map(({ columns: [x, y] }) => thinned(x, [y], span, each)));
    };
    const key = [name, ...lines.map(line => line.run)].join('\n');
    return [{ key, title: name, unit: '', lines, limits: [], isStep: true, data }];
  });
}

const curveColumns = new WeakMap<Curve, [Float64Array, Float64Array]>();

function toColumns(curve: Curve): [Float64Array, Float64Array] {
  let columns = curveColumns.get(curve);
  if (!columns) {
    columns = [Float64Array.from(curve.steps), Float64Array.from(curve.values, value => value ?? NaN)];
    curveColumns.set(curve, columns);
  }
  return columns;
}

/** Join the lines of runs. Runs with the same steps, as of a sweep, need no search. */
function joined(tables: uPlot.AlignedData[]): uPlot.AlignedData {
  const [first] = tables;
  const isSame = tables.every(([x]) => x.length === first[0].length && x.every((step, at) => step === first[0][at]));
  if (isSame) {
    return [first[0], ...tables.map(([, y]) => y)] as uPlot.AlignedData;
  }
  return tables.length === 1 ? first : uPlot.join(tables);
}
