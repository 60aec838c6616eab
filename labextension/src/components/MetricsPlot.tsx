import React, { ReactNode, useEffect, useId, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';

import { trans } from '../trans';
import { Charts, buildCharts, constantValue, figure, Frame, Line, Panel } from './metrics';
import { sparkline, Span, spanLabel, Summary, summarize, entireSpan } from './metrics';
import { dashes, draw, inkVariable, OnSpan, createPlot } from './plot';
import { enqueueTask } from './taskQueue';
import { Zoom } from './Zoom';

export interface MetricsPlotProps {
  /** A frame for each run. Several runs share the charts. */
  frames: Frame[];
  /** Why the plots are empty; otherwise an empty text. */
  empty: string;
  /** Called when another time span is shown; null is the complete run. */
  onWindow: (span: Span | null) => void;
}

/** Number of charts that are open initially. */
const OPEN = 4;

/** Suffix of the host name on a server with made-up GPU figures. */
const SIMULATED = ' (simulated GPU)';

/** The metrics of runs: key figures, charts with one time axis, and a table. */
export function MetricsPlot({ frames, empty, onWindow }: MetricsPlotProps) {
  const sync = useId();
  const charts = useMemo(() => buildCharts(frames), [frames]);
  const { panels, lines } = charts;
  const fullSpan = useMemo(() => entireSpan(frames), [frames]);
  const hosts = [...new Set(frames.map(frame => frame.host).filter(Boolean))];
  return (
    <div className="lk-metrics">
      {empty && <p role="status">{empty}</p>}
      {lines.length > 0 && <Tiles {...charts} />}
      <Zoom
        fullSpan={fullSpan}
        onWindow={onWindow}
        isEmpty={!lines.length}
        before={frames.length > 1 && <Runs runs={frames.map(({ run }, ink) => ({ run, ink }))} />}
        after={span => (
          <>
            <span className="lk-quiet" role="status">
              {lines.length > 0 &&
                trans.__('From %1 to %2, one point per %3', spanLabel(span[0]), spanLabel(span[1]), stepLabel(frames))}
            </span>
            {hosts.some(host => host.endsWith(SIMULATED)) && (
              <span
                className="lk-chip"
                title={trans.__('The GPU figures are simulated, because this machine has no GPU.')}
              >
                {trans.__('simulated GPU')}
              </span>
            )}
          </>
        )}
      >
        {(span, show) => <FoldedPlots panels={panels} open={OPEN} span={span} sync={sync} onSpan={show} />}
      </Zoom>
      {lines.length > 0 && (
        <>
          <Folded title={trans.__('As a table')}>{() => <Figures lines={lines} />}</Folded>
          <p className="lk-quiet">
            {[
              ...constants(charts.constant),
              hosts.length > 0 && trans.__('Measured on %1', hosts.map(host => host.replace(SIMULATED, '')).join(', ')),
              trans.__('Zoom: drag. Move: Shift and drag. Show the entire run: double-click.')
            ]
              .filter(Boolean)
              .join(' · ')}
          </p>
        </>
      )}
    </div>
  );
}

/** A section whose content is only drawn once opened. */
function Folded({ title, children }: { title: string; children: () => ReactNode }) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={event => setOpen((event.target as HTMLDetailsElement).open)}>
      <summary>{title}</summary>
      {open && children()}
    </details>
  );
}

/** Return sentences on constant series. Series with the same value in all runs need one sentence. */
function constants(lines: Line[]): string[] {
  return lines.flatMap((line, at) => {
    const same = lines.filter(other => other.label === line.label);
    const value = constantValue(line)!;
    const isOne = same.every(other => constantValue(other) === value);
    const name = isOne ? line.label : `${line.label} (${line.run})`;
    const isRepeated = isOne && lines.indexOf(same[0]) < at;
    return isRepeated ? [] : [trans.__('%1 is constant: %2 %3', name, figure(value), line.unit)];
  });
}

/** A sample of a line, as drawn in the charts. */
export function Mark({ ink }: { ink: number }) {
  return (
    <svg className="lk-mark" width="20" height="4" aria-hidden="true">
      <path d="M0 2h20" stroke={`var(${inkVariable(ink)})`} strokeDasharray={dashes(ink).join(' ')} />
    </svg>
  );
}

/** A legend: line → run. */
export function Runs({ runs }: { runs: { run: string; ink: number }[] }) {
  return (
    <ul className="lk-keys" aria-label={trans.__('Runs')}>
      {runs.map(({ run, ink }) => (
        <li key={ink}>
          <Mark ink={ink} /> {run}
        </li>
      ))}
    </ul>
  );
}

function Tiles({ tiles }: Charts) {
  return (
    <ul className="lk-tiles" aria-label={trans.__('Mean and peak')}>
      {tiles.map(lines => {
        const summaries = lines.map(line => ({ line, summary: summarize(line.samples()) }));
        const peak = Math.max(
          lines[0].unit === '%' ? 100 : 0,
          ...summaries.map(({ summary: found }) => found?.most ?? 0)
        );
        return (
          <li key={lines[0].label}>
            <span className="lk-tile-title">{lines[0].label}</span>
            <svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
              {lines.map(line => (
                <path key={line.ink} d={sparkline(line, peak)} stroke={`var(${inkVariable(line.ink)})`} />
              ))}
            </svg>
            {lines.length === 1 ? <Figure {...summaries[0]} /> : <Compared summaries={summaries} />}
          </li>
        );
      })}
    </ul>
  );
}

type LineSummary = { line: Line; summary: Summary | null };

function Figure({ line, summary }: LineSummary) {
  return (
    <dl>
      <div>
        <dd>{amount(summary?.mean, line)}</dd>
        <dt>{trans.__('mean')}</dt>
      </div>
      <div>
        <dd>{amount(summary?.most, line)}</dd>
        <dt>{trans.__('peak')}</dt>
      </div>
    </dl>
  );
}

function Compared({ summaries }: { summaries: LineSummary[] }) {
  return (
    <table>
      <thead>
        <tr>
          <td />
          <th scope="col">{trans.__('mean')}</th>
          <th scope="col">{trans.__('peak')}</th>
        </tr>
      </thead>
      <tbody>
        {summaries.map(({ line, summary: found }) => (
          <tr key={line.ink}>
            <th scope="row" title={line.run}>
              {line.run}
            </th>
            <td>{amount(found?.mean, line)}</td>
            <td>{amount(found?.most, line)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const amount = (value: number | undefined, { unit }: Line) => (value === undefined ? '–' : `${figure(value)} ${unit}`);

type PlotsProps = { panels: Panel[]; span: Span; sync: string; onSpan: OnSpan };

/** Plots: the first are open, the others are in a section. */
export function FoldedPlots({ panels, open, ...rest }: PlotsProps & { open: number }) {
  return (
    <>
      <Plots panels={panels.slice(0, open)} {...rest} />
      {panels.length > open && (
        <Folded title={trans._n('%1 more chart', '%1 more charts', panels.length - open)}>
          {() => <Plots panels={panels.slice(open)} {...rest} />}
        </Folded>
      )}
    </>
  );
}

function Plots({ panels, ...rest }: PlotsProps) {
  return (
    <div className="lk-panels">
      {panels.map(panel => (
        <Plot key={panel.key} panel={panel} {...rest} />
      ))}
    </div>
  );
}

type PlotProps = { panel: Panel; span: Span; sync: string; onSpan: OnSpan };

function Plot({ panel, span, sync, onSpan }: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const onLatestSpan = useRef(onSpan);
  const [description, setDescription] = useState('');
  onLatestSpan.current = onSpan;
  useEffect(() => {
    const uplot = createPlot(panel, box.current!, sync, next => onLatestSpan.current(next));
    plot.current = uplot;
    const node = box.current!;
    const size = new ResizeObserver(() => uplot.setSize({ width: node.clientWidth, height: uplot.height }));
    // Lab hides the page for a frame when its theme changes, and a hidden page has colors of the former theme.
    const repaint = () => requestAnimationFrame(() => uplot.redraw(false, true));
    const theme = new MutationObserver(repaint);
    const contrast = matchMedia('(forced-colors: active)');
    size.observe(node);
    theme.observe(document.body, { attributeFilter: ['data-jp-theme-light'] });
    contrast.addEventListener('change', repaint);
    return () => {
      size.disconnect();
      theme.disconnect();
      contrast.removeEventListener('change', repaint);
      uplot.destroy();
    };
  }, [panel.key]);
  const paint = () => draw(plot.current!, panel.data(span, plot.current!.width), span);
  useEffect(() => enqueueTask(paint), [panel, span[0], span[1]]);
  useEffect(() => enqueueTask(() => setDescription(describe(panel))), [panel]);
  return (
    <figure>
      <figcaption>
        <strong>{panel.title}</strong> <span className="lk-quiet">{panel.unit}</span>
        {!panel.isStep &&
          panel.lines.some(line => line.label !== panel.title) &&
          panel.lines.map((line, at) => (
            <span key={at} className="lk-key">
              <Mark ink={line.ink} /> {line.name}
            </span>
          ))}
        {panel.limits.length > 0 && (
          <span className="lk-quiet lk-key">
            {trans.__('limit %1', panel.limits.map(figure).join(', '))} {panel.unit}
          </span>
        )}
      </figcaption>
      <div ref={box} role="img" aria-label={description || panel.title} />
    </figure>
  );
}

/** The same figures as a table, for screen readers. */
function Figures({ lines }: { lines: Line[] }) {
  return (
    <div className="lk-wide" tabIndex={0} role="region" aria-label={trans.__('Figures')}>
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
        <tbody>
          {lines.map((line, at) => {
            const summary = summarize(line.samples());
            return (
              <tr key={at}>
                <th scope="row">{line.name === line.label ? line.label : `${line.label}: ${line.run}`}</th>
                {(['last', 'least', 'mean', 'most'] as (keyof Summary)[]).map(part => (
                  <td key={part} className="lk-figure">
                    {summary ? figure(summary[part]) : '–'}
                  </td>
                ))}
                <td>{line.unit}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function headings(): string[] {
  return [
    ...[trans.__('Series'), trans.__('Last'), trans.__('Min')],
    ...[trans.__('Mean'), trans.__('Max'), trans.__('Unit')]
  ];
}

function describe({ title, lines }: Panel): string {
  const sentences = lines.map(({ name, unit, samples }) => {
    const summary = summarize(samples());
    if (!summary) {
      return trans.__('%1: no samples', name);
    }
    const [last, least, most] = [summary.last, summary.least, summary.most].map(figure);
    return trans.__('%1: last %2, min %3, max %4 %5', name, last, least, most, unit);
  });
  return [...(lines.length === 1 && lines[0].name === title ? [] : [title]), ...sentences].join('. ');
}

function stepLabel(frames: Frame[]): string {
  const steps = [...new Set(frames.map(frame => frame.step))];
  return steps.map(spanLabel).reduce((some, other) => trans.__('%1 or %2', some, other));
}
