/** One panel of metrics as uPlot draws it, in the colours of the theme and with lines that need no colour. */
import uPlot from 'uplot';

import { trans } from '../trans';
import { figure, Panel, Span, spanLabel } from './metrics';

/** What a hand on the plot asks for: a window, or the whole. */
export type OnSpan = (span: Span | null) => void;

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 4], [6, 2, 2, 2, 2, 2], [1, 5]];
const BORDERS = ['solid', 'dashed', 'dotted', 'double', 'dashed', 'dotted', 'dotted'];
const HEIGHT = 150;
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** Make an empty plot of a panel; `sync` is what all plots share whose pointer moves together. */
export function plotOf(panel: Panel, box: HTMLElement, sync: string, onSpan: OnSpan): uPlot {
  const ink = (name: string) => () => colour(box, name);
  const axis = { stroke: ink('--lk-quiet'), grid: { stroke: ink('--lk-grid'), width: 1 }, ticks: { show: false } };
  return new uPlot(
    {
      width: box.clientWidth,
      height: HEIGHT,
      scales: { x: { time: false, auto: false }, y: { range: (_, least, most) => reach(panel, least, most) } },
      axes: [
        { ...axis, incrs: TICKS, values: (_, ticks) => ticks.map(spanLabel), space: 80, size: 30 },
        { ...axis, size: 56, values: (_, ticks) => ticks.map(figure) }
      ],
      series: [
        { label: trans.__('Time'), value: (_, value) => (value === null ? '–' : spanLabel(value)) },
        ...panel.lines.map((line, at) => ({
          label: line.label,
          stroke: ink(`--lk-series-${at % DASHES.length}`),
          dash: DASHES[at % DASHES.length],
          width: 1.5,
          points: { show: undefined },
          value: (_: uPlot, value: number | null) => (value === null ? '–' : `${figure(value)} ${line.unit}`)
        }))
      ],
      legend: {
        markers: {
          width: 2,
          stroke: (_, at) => `var(--lk-series-${(at - 1) % DASHES.length})`,
          dash: (_, at) => BORDERS[(at - 1) % BORDERS.length],
          fill: () => 'transparent'
        }
      },
      cursor: {
        sync: { key: sync },
        drag: { x: true, y: false, setScale: false },
        bind: {
          mousedown: (plot, _, select) => event => (event.shiftKey ? pan(plot, event, onSpan) : select(event)),
          dblclick: () => () => (onSpan(null), null)
        }
      },
      hooks: { setSelect: [plot => chosen(plot, onSpan)] }
    },
    [[], ...panel.lines.map(() => [])] as uPlot.AlignedData,
    box
  );
}

/** Draw data in a window; what is high there sets the scale. */
export function draw(plot: uPlot, data: uPlot.AlignedData, [min, max]: Span): void {
  plot.batch(() => {
    plot.setData(data, false);
    plot.setScale('x', { min, max });
  });
}

function chosen(plot: uPlot, onSpan: OnSpan): void {
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

/** The scale of a panel: all of a percentage, and anything else from zero. */
function reach({ unit }: Panel, least: number | null, most: number | null): [number, number] {
  if (unit === '%') {
    return [0, Math.max(100, most ?? 0)];
  }
  return uPlot.rangeNum(Math.min(0, least ?? 0), most || 1, 0.1, true) as [number, number];
}

/** A colour of the stylesheet, which canvas can use only when it is worked out. */
function colour(box: HTMLElement, name: string): string {
  const probe = box.appendChild(document.createElement('i'));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
