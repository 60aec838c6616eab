import React, { KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';

import { trans } from '../trans';
import { inTurn } from './taskQueue';
import { figure, Frame, moved, Panel, panelsOf, Span, spanLabel, Summary, summaryOf, wholeOf } from './metrics';
import { draw, OnSpan, plotOf } from './plot';

export interface MetricsPlotProps {
  /** One for each run; several are laid over each other. */
  frames: Frame[];
  /** Why there is nothing to see, if so. */
  empty: string;
  /** Another window is looked at; null is the whole run. */
  onWindow: (span: Span | null) => void;
}

/** Milliseconds that a window must last before its points are asked for. */
const REST = 250;

const KEYS: Record<string, [by: number, shift: number]> = {
  ArrowLeft: [1, -0.25],
  ArrowRight: [1, 0.25],
  '+': [0.5, 0],
  '-': [2, 0]
};

/** The metrics of runs as plots with one time axis, and as a table. */
export function MetricsPlot({ frames, empty, onWindow }: MetricsPlotProps) {
  const [span, setSpan] = useState<Span | null>(null);
  const sync = useId();
  const panels = useMemo(() => panelsOf(frames), [frames]);
  const whole = useMemo(() => wholeOf(frames), [frames]);
  const furthest = useRef<Span>(whole);
  const clock = useRef(0);
  if (!span) {
    furthest.current = whole;
  }
  const shown = span ?? whole;
  const show: OnSpan = next => {
    setSpan(next);
    window.clearTimeout(clock.current);
    clock.current = window.setTimeout(() => onWindow(next), REST);
  };
  const hosts = panels.length > 0 && [...new Set(frames.map(frame => frame.host).filter(Boolean))].join(', ');
  const move = (by: number, shift: number) => show(moved(shown, by, shift, furthest.current));
  const press = (event: KeyboardEvent) => {
    const key = event.key === '=' ? '+' : event.key;
    if (key === '0') {
      show(null);
    } else if (KEYS[key]) {
      move(...KEYS[key]);
    } else {
      return;
    }
    event.preventDefault();
  };
  useEffect(() => () => window.clearTimeout(clock.current), []);
  return (
    <div className="lk-metrics">
      <div className="lk-row" role="toolbar" aria-label={trans.__('Window of the plots')}>
        <button type="button" onClick={() => move(0.5, 0)}>
          {trans.__('Zoom in')}
        </button>
        <button type="button" disabled={!span} onClick={() => move(2, 0)}>
          {trans.__('Zoom out')}
        </button>
        <button type="button" disabled={!span} onClick={() => move(1, -0.5)}>
          {trans.__('◀ Earlier')}
        </button>
        <button type="button" disabled={!span} onClick={() => move(1, 0.5)}>
          {trans.__('Later ▶')}
        </button>
        <button type="button" disabled={!span} onClick={() => show(null)}>
          {trans.__('Entire run')}
        </button>
        <span className="lk-quiet" role="status">
          {panels.length > 0 &&
            trans.__('%1 to %2, one point per %3', spanLabel(shown[0]), spanLabel(shown[1]), stepLabel(frames))}
          {hosts && ` · ${trans.__('Measured on %1', hosts)}`}
        </span>
      </div>
      {empty && <p role="status">{empty}</p>}
      <div
        className="lk-panels"
        role="group"
        tabIndex={0}
        aria-label={trans.__('Plots. Left and right move the window, plus and minus zoom, 0 shows the entire run.')}
        onKeyDown={press}
        hidden={!panels.length}
      >
        {panels.map(panel => (
          <Plot key={panel.key} panel={panel} span={shown} sync={sync} onSpan={show} />
        ))}
      </div>
      {panels.length > 0 && (
        <>
          <p className="lk-quiet">
            {trans.__('Drag to zoom, Shift and drag to move, double-click for the entire run.')}
          </p>
          <Figures panels={panels} />
        </>
      )}
    </div>
  );
}

type PlotProps = { panel: Panel; span: Span; sync: string; onSpan: OnSpan };

function Plot({ panel, span, sync, onSpan }: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const ask = useRef(onSpan);
  const [told, setTold] = useState('');
  ask.current = onSpan;
  useEffect(() => {
    const made = plotOf(panel, box.current!, sync, next => ask.current(next));
    plot.current = made;
    const size = new ResizeObserver(() => made.setSize({ width: box.current!.clientWidth, height: made.height }));
    const theme = new MutationObserver(() => made.redraw(false, true));
    size.observe(box.current!);
    theme.observe(document.body, { attributeFilter: ['data-jp-theme-light'] });
    return () => {
      size.disconnect();
      theme.disconnect();
      made.destroy();
    };
  }, [panel.key]);
  const paint = () => draw(plot.current!, panel.data(span, plot.current!.width), span);
  useEffect(() => inTurn(paint), [panel, span[0], span[1]]);
  useEffect(() => inTurn(() => setTold(words(panel))), [panel]);
  return (
    <figure>
      <figcaption>
        {panel.title} <span className="lk-quiet">({panel.unit})</span>
      </figcaption>
      <div ref={box} role="img" aria-label={told || panel.title} />
    </figure>
  );
}

/** The same in figures, for whoever does not see the plots. */
function Figures({ panels }: { panels: Panel[] }) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={event => setOpen((event.target as HTMLDetailsElement).open)}>
      <summary>{trans.__('As a table')}</summary>
      {open && (
        <table>
          <thead>
            <tr>
              {headings().map(name => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{panels.map(rowsOf)}</tbody>
        </table>
      )}
    </details>
  );
}

function headings(): string[] {
  return [
    ...[trans.__('Series'), trans.__('Last'), trans.__('Least')],
    ...[trans.__('Mean'), trans.__('Most'), trans.__('Unit')]
  ];
}

function rowsOf(panel: Panel) {
  const columns = panel.samples();
  return panel.lines.map((line, at) => {
    const found = summaryOf(columns[at]);
    const name = line.label === panel.title ? line.label : `${panel.title}: ${line.label}`;
    return (
      <tr key={panel.key + at}>
        <th scope="row">{name}</th>
        {(['last', 'least', 'mean', 'most'] as (keyof Summary)[]).map(part => (
          <td key={part} className="lk-figure">
            {found ? figure(found[part]) : '–'}
          </td>
        ))}
        <td>{line.unit}</td>
      </tr>
    );
  });
}

function words(panel: Panel): string {
  const columns = panel.samples();
  const lines = panel.lines.map((line, at) => {
    const found = summaryOf(columns[at]);
    if (!found) {
      return trans.__('%1: no samples', line.label);
    }
    const [last, least, most] = [found.last, found.least, found.most].map(figure);
    return trans.__('%1: last %2, from %3 to %4 %5', line.label, last, least, most, line.unit);
  });
  return `${panel.title}. ${lines.join('. ')}`;
}

function stepLabel(frames: Frame[]): string {
  const steps = [...new Set(frames.map(frame => frame.step))];
  return steps.map(spanLabel).reduce((some, other) => trans.__('%1 or %2', some, other));
}
