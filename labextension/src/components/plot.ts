/** A panel of metrics as drawn by uPlot, in the colours of the theme and with line styles that need no colour. */
import uPlot from 'uplot';

import { trans } from '../trans';
import { stepLabel, valueLabel } from './scalars';
import { figure, near, Panel, Span, spanLabel } from './metrics';

/** Called on a zoom or a move; null is the complete run. */
export type OnSpan = (span: Span | null) => void;

/** Dashes by which lines differ without colour. */
export const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 4], [6, 2, 2, 2, 2, 2], [1, 5]];
const HEIGHT = 140;

/** Return the dashes of a line. Lines of the same colour differ in their dashes. */
export const dashes = (ink: number) => DASHES[(ink + Math.floor(ink / DASHES.length)) % DASHES.length];

/** Return the CSS variable with the colour of a line. */
export const inkVariable = (ink: number) => `--lk-series-${ink % DASHES.length}`;
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** Create an empty plot of a panel. Plots with the same `sync` share the pointer. */
export function createPlot(panel: Panel, box: HTMLElement, sync: string, onSpan: OnSpan): uPlot {
  const ink = (name: string) => () => colour(box, name);
  const font = getComputedStyle(box).font.replace(/\d{1,9}(\.\d{1,9})?px(\s{0,9}\/\s{0,9}\S{1,20})?/, '11px');
  const axis = {
    font,
    stroke: ink('--lk-quiet'),
    grid: { stroke: ink('--lk-grid'), width: 1 },
    ticks: { show: false }
  };
  return new uPlot(
    {
      width: box.clientWidth,
      height: HEIGHT,
      scales: { x: { time: false, auto: false }, y: { range: (_, least, most) => reach(panel, least, most) } },
      axes: [
        {
          ...axis,
          ...(!panel.isStep && { incrs: TICKS }),
          values: (_, ticks) => ticks.map(panel.isStep ? stepLabel : spanLabel),
          space: 80,
          size: 24
        },
        { ...axis, size: 48, values: (_, ticks) => ticks.map(tick => (panel.isStep ? valueLabel(tick) : figure(tick))) }
      ],
      series: [
        {},
        ...panel.lines.map(line => ({
          label: line.label,
          stroke: ink(inkVariable(line.ink)),
          dash: dashes(line.ink),
          width: 1.5
        }))
      ],
      legend: { show: false },
      cursor: {
        sync: { key: sync },
        drag: { x: true, y: false, setScale: false },
        bind: {
          mousedown: (plot, _, select) => event => (event.shiftKey ? pan(plot, event, onSpan) : select(event)),
          dblclick: () => () => (onSpan(null), null)
        }
      },
      hooks: {
        setSelect: [plot => selectSpan(plot, onSpan)],
        drawAxes: [plot => panel.limits.forEach(limit => rule(plot, limit, colour(box, '--lk-quiet')))]
      },
      plugins: [tooltip(panel)]
    },
    [[], ...panel.lines.map(() => [])] as uPlot.AlignedData,
    box
  );
}

/** Draw data in a time span. The highest visible value sets the scale. */
export function draw(plot: uPlot, data: uPlot.AlignedData, [min, max]: Span): void {
  plot.batch(() => {
    plot.setData(data, false);
    plot.setScale('x', { min, max });
  });
}

function selectSpan(plot: uPlot, onSpan: OnSpan): void {
  const { left, width } = plot.select;
  if (width > 0) {
    onSpan([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')]);
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }
}

function pan(plot: uPlot, event: MouseEvent, onSpan: OnSpan): null {
  const { min, max } = plot.scales.x as { min: number; max: number };
  const each = (max - min) / plot.over.clientWidth;
  const ended = new AbortController();
  const move = ({ clientX }: MouseEvent) => {
    const by = (event.clientX - clientX) * each;
    onSpan([min + by, max + by]);
  };
  document.addEventListener('mousemove', move, { signal: ended.signal });
  document.addEventListener('mouseup', () => ended.abort(), { signal: ended.signal });
  return null;
}

/** Fraction of a limit from which the scale includes the limit. Below, lines would lie at the bottom. */
const NEAR = 0.1;

/** Return the scale of a panel: 0 to 100 for percent; otherwise from zero, including a near limit. */
function reach({ unit, limits, isStep }: Panel, least: number | null, most: number | null): [number, number] {
  if (isStep) {
    return uPlot.rangeNum(least ?? 0, most ?? 1, 0.1, true) as [number, number];
  }
  if (unit === '%') {
    return [0, Math.max(100, most ?? 0)];
  }
  const nearLimits = limits.filter(limit => (most ?? 0) > NEAR * limit);
  return uPlot.rangeNum(Math.min(0, least ?? 0), Math.max(most || 1, ...nearLimits), 0.1, true) as [number, number];
}

function rule(plot: uPlot, limit: number, stroke: string): void {
  const [{ ctx, bbox }, height] = [plot, Math.round(plot.valToPos(limit, 'y', true)) + 0.5];
  if (height >= bbox.top) {
    ctx.save();
    ctx.strokeStyle = stroke;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(bbox.left, height);
    ctx.lineTo(bbox.left + bbox.width, height);
    ctx.stroke();
    ctx.restore();
  }
}

/** Lines in a tooltip: of more lines, those nearest to the pointer. */
const MOST_TIPS = 10;

/** A tooltip at the pointer with the time and the value of each line. */
function tooltip(panel: Panel): uPlot.Plugin {
  const tip = document.createElement('div');
  const [moment, ...rows] = [0, ...panel.lines].map(() => tip.appendChild(document.createElement('div')));
  const values = rows.map((row, at) => {
    const mark = row.appendChild(document.createElement('i'));
    mark.style.borderColor = `var(${inkVariable(panel.lines[at].ink)})`;
    row.append(panel.lines.length > 1 ? panel.lines[at].name : '');
    return row.appendChild(document.createElement('b'));
  });
  tip.className = 'lk-plot-tip';
  tip.hidden = true;
  tip.ariaHidden = 'true'; // the table has the same values
  return {
    hooks: {
      init: plot => void plot.over.append(tip),
      setCursor: plot => {
        const { idx, left = -1 } = plot.cursor;
        tip.hidden = idx === null || idx === undefined || left < 0;
        if (!tip.hidden) {
          const at = plot.data[0][idx!];
          moment.textContent = panel.isStep ? trans.__('Step %1', stepLabel(at)) : spanLabel(at);
          const numbers = values.map((_, at) => near(plot.data[at + 1], idx!));
          values.forEach((value, at) => (value.textContent = valueAt(panel, at, numbers[at])));
          const nearest = nearestLines(plot, numbers);
          rows.forEach((row, at) => (row.hidden = !nearest.has(at)));
          const isRight = left > plot.over.clientWidth / 2;
          tip.style.left = isRight ? '' : `${left + 12}px`;
          tip.style.right = isRight ? `${plot.over.clientWidth - left + 12}px` : '';
        }
      }
    }
  };
}

function nearestLines(plot: uPlot, numbers: (number | null)[]): Set<number> {
  const top = plot.cursor.top ?? 0;
  const far = (value: number | null) => (value === null ? Infinity : Math.abs(plot.valToPos(value, 'y') - top));
  const all = numbers.map((value, at) => ({ at, distance: numbers.length > MOST_TIPS ? far(value) : 0 }));
  return new Set(
    all
      .sort((a, b) => a.distance - b.distance || a.at - b.at)
      .slice(0, MOST_TIPS)
      .map(({ at }) => at)
  );
}

function valueAt({ lines, isStep }: Panel, at: number, value: number | null): string {
  return value === null ? '–' : isStep ? valueLabel(value) : `${figure(value)} ${lines[at].unit}`;
}

/** Plot → colours that were read in this frame: a plot of many lines has few colours, and each costs a layout. */
const colours = new WeakMap<HTMLElement, Map<string, string>>();

/** Return a colour of the style sheet as a value that canvas accepts. */
function colour(box: HTMLElement, name: string): string {
  let cached = colours.get(box);
  if (!cached) {
    cached = new Map();
    colours.set(box, cached);
    requestAnimationFrame(() => colours.delete(box)); // the theme may change
  }
  const value = cached.get(name) ?? readColour(box, name);
  cached.set(name, value);
  return value;
}

function readColour(box: HTMLElement, name: string): string {
  const probe = box.appendChild(document.createElement('i'));
  probe.style.color = `var(${name})`;
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
