/** A run in the main area: its log, metrics and result. Loaded when the first is opened. */
import { ReactWidget } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import React, { useEffect, useMemo, useRef, useState } from 'react';

import { COMMANDS } from '../commands';
import { Log } from '../components/Log';
import { Notice } from '../components/Notice';
import { Series } from '../components/Series';
import { LogLines, pieces } from '../logLines';
import { request } from '../request';
import { follow } from '../stream';
import { ExecutionMetrics, ExecutionRecord, JournalCode, MetricPoint, StreamEnd } from '../types';
import { bytes, credits, duration, machineName, moment } from '../words';

export class RunDocument extends ReactWidget {
  constructor(
    private readonly runId: string,
    private readonly commands: CommandRegistry
  ) {
    super();
    this.addClass('lk');
    this.addClass('lk-document');
  }

  protected render() {
    return <Run id={this.runId} commands={this.commands} />;
  }
}

type Part = 'Log' | 'Metrics' | 'Result';
const PARTS: Part[] = ['Log', 'Metrics', 'Result'];

function Run({ id, commands }: { id: string; commands: CommandRegistry }) {
  const [part, setPart] = useState<Part>('Log');
  const output = useOutput(id);
  const record = useAnswer<ExecutionRecord>(`api/execution/${encodeURIComponent(id)}`, output.end);
  const code = useAnswer<JournalCode>(`journal/${encodeURIComponent(id)}/code`, null); // as its author wrote it
  const run = record.answer;
  const goesOn = !output.end && !output.trouble;
  return (
    <>
      <header className="lk-row">
        <strong>{run?.run_name || run?.file_name || `Run ${id.slice(0, 8)}`}</strong>
        <span className="lk-quiet">{factsOf(run).join(' · ')}</span>
        {goesOn && (
          <button type="button" onClick={() => void commands.execute(COMMANDS.abortRun, { id })}>
            Abort
          </button>
        )}
      </header>
      <div
        role="tablist"
        aria-label="Parts of the run"
        className="lk-tabs"
        onKeyDown={event => move(event, part, setPart)}
      >
        {PARTS.map(name => (
          <button
            key={name}
            type="button"
            role="tab"
            aria-selected={part === name}
            tabIndex={part === name ? 0 : -1}
            onClick={() => setPart(name)}
          >
            {name}
          </button>
        ))}
      </div>
      <div role="tabpanel" aria-label={part} className="lk-part">
        {part === 'Log' && <LogPart output={output} goesOn={goesOn} />}
        {part === 'Metrics' && <MetricsPart id={id} end={output.end} />}
        {part === 'Result' && (
          <ResultPart run={run} code={code.answer?.code ?? run?.python_code} trouble={record.trouble} />
        )}
      </div>
    </>
  );
}

function move(event: React.KeyboardEvent<HTMLElement>, part: Part, setPart: (part: Part) => void): void {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) {
    const next = (PARTS.indexOf(part) + step + PARTS.length) % PARTS.length;
    setPart(PARTS[next]);
    (event.currentTarget.children[next] as HTMLElement).focus();
  }
}

interface Output {
  lines: LogLines;
  count: number;
  end: StreamEnd | null;
  trouble: string;
}

/** Follow the output while the document is open. It is drawn once in a frame, however fast it comes. */
function useOutput(id: string): Output {
  const lines = useMemo(() => new LogLines(), [id]);
  const [state, setState] = useState<Omit<Output, 'lines'>>({ count: 0, end: null, trouble: '' });
  useEffect(() => {
    const asks = new AbortController();
    let frame = 0;
    const draw = () => {
      frame = 0;
      setState(old => ({ ...old, count: lines.count }));
    };
    follow(id, asks.signal, text => {
      lines.add(text);
      frame ||= requestAnimationFrame(draw);
    }).then(
      end => setState({ count: lines.count, end, trouble: '' }),
      (failure: Error) => asks.signal.aborted || setState({ count: lines.count, end: null, trouble: failure.message })
    );
    return () => {
      asks.abort();
      cancelAnimationFrame(frame);
    };
  }, [id]);
  return { lines, ...state };
}

/** Ask once, and once more whenever `again` changes. */
function useAnswer<T>(path: string, again: unknown): { answer: T | null; trouble: string } {
  const [state, setState] = useState<{ answer: T | null; trouble: string }>({ answer: null, trouble: '' });
  useEffect(() => {
    const asks = new AbortController();
    request<T>(path, { signal: asks.signal }).then(
      answer => setState({ answer, trouble: '' }),
      (failure: Error) => asks.signal.aborted || setState(old => ({ ...old, trouble: failure.message }))
    );
    return () => asks.abort();
  }, [path, again]);
  return state;
}

function LogPart({ output: { lines, count, trouble }, goesOn }: { output: Output; goesOn: boolean }) {
  const [text, setText] = useState('');
  const [current, setCurrent] = useState(0);
  const found = useMemo(() => lines.find(text), [lines, text]);
  const field = useRef<HTMLInputElement>(null);
  const step = (by: number) => found.length && setCurrent((current + by + found.length) % found.length);
  return (
    <>
      <div className="lk-row">
        <input
          ref={field}
          type="search"
          aria-label="Find in the log"
          placeholder="Find in the log"
          value={text}
          onInput={event => {
            setText((event.target as HTMLInputElement).value);
            setCurrent(0);
          }}
          onKeyDown={event => event.key === 'Enter' && step(event.shiftKey ? -1 : 1)}
        />
        <span role="status" className="lk-quiet">
          {text
            ? found.length
              ? `${current + 1} of ${found.length.toLocaleString('en')} lines`
              : 'not found'
            : `${count.toLocaleString('en')} lines${goesOn ? ', more are coming' : ''}`}
        </span>
      </div>
      <Notice notice={{ kind: 'error', text: trouble }} />
      <Log
        label="Log"
        count={count}
        line={at => pieces(lines.lines[at])}
        found={found}
        current={current}
        follows={goesOn}
      />
    </>
  );
}

/** Series of the API → title, unit, and what its values are multiplied with. */
const SERIES: [keyof ExecutionMetrics, string, string, number][] = [
  ['gpuUtilizationPercent', 'GPU use', '%', 1],
  ['gpuMemoryUtilizationPercent', 'GPU memory', '%', 1],
  ['gpuTemperatureCelsius', 'GPU temperature', '°C', 1],
  ['gpuPowerWatt', 'GPU power', 'W', 1],
  ['systemCpuUsagePercent', 'CPU use', '%', 1],
  ['systemRamUsedBytes', 'Memory', 'GB', 1e-9]
];

function MetricsPart({ id, end }: { id: string; end: StreamEnd | null }) {
  const { answer, trouble } = useAnswer<ExecutionMetrics>(
    `api/execution/${encodeURIComponent(id)}/metrics?step=5s`,
    end
  );
  if (!answer) {
    return trouble ? <Notice notice={{ kind: 'error', text: trouble }} /> : <p role="status">Asking the cloud …</p>;
  }
  const rows = SERIES.map(([name, title, unit, scale]) => ({
    title,
    unit,
    points: ((answer[name] ?? []) as MetricPoint[]).map(({ timestamp, value }) => ({
      at: moment(timestamp)!,
      value: value === null ? null : value * scale
    }))
  })).filter(row => row.points.some(point => point.value !== null));
  return rows.length ? (
    <>
      {rows.map(row => (
        <Series key={row.title} {...row} />
      ))}
    </>
  ) : (
    <p className="lk-quiet">No samples: the run was shorter than the cloud measures, or has not begun.</p>
  );
}

type ResultProps = { run: ExecutionRecord | null; code?: string | null; trouble: string };

function ResultPart({ run, code, trouble }: ResultProps) {
  if (!run) {
    return trouble ? <Notice notice={{ kind: 'error', text: trouble }} /> : <p role="status">Asking the cloud …</p>;
  }
  const rows: [string, string | null | undefined][] = [
    ['State', run.status],
    ['Machine', run.hardware_profile],
    ['Exit code', run.return_code?.toString()],
    ['Started', startOf(run)],
    ['Time', timeOf(run)],
    ['Cost', typeof run.billed === 'number' ? `${credits(run.billed)} credits` : null],
    ['Output', run.stdout ? bytes(run.stdout.length) : null],
    ['Run', run.execution_id]
  ];
  const errors = [...(run.errors ?? []), ...(run.system_errors ?? [])].filter(Boolean);
  return (
    <>
      <dl className="lk-known">
        {rows.map(
          ([name, value]) =>
            value && (
              <React.Fragment key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </React.Fragment>
            )
        )}
      </dl>
      {errors.map((error, at) => (
        <Notice key={at} notice={{ kind: 'error', text: error }} />
      ))}
      {code && (
        <>
          <h3>Code</h3>
          <pre className="lk-peek" tabIndex={0} aria-label="Code">
            {code}
          </pre>
        </>
      )}
    </>
  );
}

function startOf(run: ExecutionRecord): string | null {
  const start = moment(run.start_time);
  return start === null ? null : new Date(start * 1000).toLocaleString();
}

function timeOf(run: ExecutionRecord): string | null {
  const [start, end] = [moment(run.start_time), moment(run.end_time)];
  return start !== null && end !== null ? duration(end - start) : null;
}

function factsOf(run: ExecutionRecord | null): string[] {
  if (!run) {
    return [];
  }
  const cost = typeof run.billed === 'number' ? `${credits(run.billed)} credits` : null;
  const facts = [run.status, run.hardware_profile && machineName(run.hardware_profile), timeOf(run), cost];
  return facts.filter((fact): fact is string => !!fact);
}
