/** A run in the main area: log, metrics and result. Loaded when the first run is opened. */
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ReactWidget } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import React, { useEffect, useMemo, useRef, useState } from 'react';

import '../../style/panel.css';
import { Cloud } from '../cloud';
import { COMMANDS, asUiCall } from '../commands';
import { Curves } from '../components/Curves';
import { Log } from '../components/Log';
import { Span } from '../components/metrics';
import { MetricsPlot } from '../components/MetricsPlot';
import { Notice } from '../components/Notice';
import { RunRow } from '../cloudTypes';
import { RunHeader, RunHeaderProps, useSight } from '../components/RunHeader';
import { buildHeader, savedRun } from '../header';
import { hasEnded, rowFromRecord, plainName } from '../runs';
import { request, Trouble } from '../request';
import { thisSecond } from '../serverClock';
import { trans } from '../trans';
import { ExecutionRecord, JournalCode, RunPage } from '../types';
import { bytes, moment, unturned } from '../format';
import { Outputs } from './Outputs';
import { RunNote } from './RunNote';
import { Answer, RunOutputState, VisibilityCheck, useAnswer, useMetrics, useOutput, useRecord, useRow } from './useRun';

export class RunDocument extends ReactWidget {
  constructor(
    private readonly runId: string,
    private readonly cloud: Cloud,
    private readonly commands: CommandRegistry,
    private readonly rendermime: IRenderMimeRegistry
  ) {
    super();
    this.title.label = unnamed(runId);
    this.addClass('lk');
    this.addClass('lk-document');
  }

  protected render() {
    const { runId: id, cloud, commands, rendermime, title } = this;
    const onName = (name: string) => (title.label = name);
    return <Run {...{ id, cloud, commands, rendermime, onName }} isVisible={() => this.isVisible} />;
  }
}

const short = (id: string) => id.slice(0, 8);
const unnamed = (id: string) => trans.__('Run %1', short(id));

type Part = 'log' | 'curves' | 'metrics' | 'result';
const PARTS: Part[] = ['log', 'curves', 'metrics', 'result'];
const titles = (): Record<Part, string> => ({
  log: trans.__('Log'),
  curves: trans.__('Curves'),
  metrics: trans.__('Metrics'),
  result: trans.__('Result')
});

interface RunProps {
  id: string;
  cloud: Cloud;
  commands: CommandRegistry;
  rendermime: IRenderMimeRegistry;
  isVisible: VisibilityCheck;
  onName: (name: string) => void;
}

function Run({ id, cloud, commands, rendermime, isVisible, onName }: RunProps) {
  const [part, setPart] = useState<Part>('log');
  const output = useOutput(id);
  const record = useRecord(id, output.end, isVisible);
  const run = record.answer;
  const ended = run ? hasEnded(run) : !!output.end;
  const row = useRow(cloud, id);
  const called = row?.name || unturned(run?.run_name ?? '') || plainName(run?.file_name) || unnamed(id);
  const isUnique = called.includes(short(id));
  useEffect(() => void onName(isUnique ? called : `${called} · ${short(id)}`), [called]);
  const [failure, setFailure] = useState('');
  const doing = (command: string) => async () => {
    setFailure('');
    await commands.execute(command, asUiCall({ ...row, id })).catch((error: Error) => setFailure(error.message));
  };
  const [abort, rerun, goToCell] = [COMMANDS.abortRun, COMMANDS.rerunCell, COMMANDS.goToCell].map(doing);
  const hasCell = !!row?.notebook && !!row.cellId;
  const outputs = output.displays.length + output.omitted;
  const facts = useAnswer<JournalCode>(`journal/${encodeURIComponent(id)}/code`, null, isVisible, () => false).answer;
  const [note, setNote] = useState<string | null>(null);
  return (
    <>
      <div className="lk-document-head">
        <h2>
          {called} {!isUnique && <small className="lk-quiet">{short(id)}</small>}
        </h2>
        {ended && run && (
          <button type="button" onClick={() => void savePage(id).catch((error: Error) => setFailure(error.message))}>
            {trans.__('Save as HTML')}
          </button>
        )}
      </div>
      {run && (
        <Head
          run={run}
          row={row}
          silent={cloud.runs.silentSince}
          ahead={cloud.data.status?.ahead}
          onStop={() => void abort()}
          onRerun={hasCell ? () => void rerun() : undefined}
          onGoToCell={hasCell ? () => void goToCell() : undefined}
        />
      )}
      {facts && <RunNote id={id} note={note ?? facts.note} onStored={setNote} onFailure={setFailure} />}
      <Notice notice={{ kind: 'error', text: failure }} />
      <div
        role="tablist"
        aria-label={trans.__('Parts of the run')}
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
            {titles()[name]}
            {name === 'result' && outputs > 0 && ` (${outputs})`}
          </button>
        ))}
      </div>
      <div role="tabpanel" aria-label={titles()[part]} className="lk-part">
        {part === 'log' && <LogPart output={output} ended={ended} />}
        {part === 'curves' && <CurvesPart id={id} output={output} />}
        {part === 'metrics' && <MetricsPart record={record} isVisible={isVisible} />}
        {part === 'result' && (
          <ResultPart record={record} facts={facts}>
            <Outputs rendermime={rendermime} displays={output.displays} omitted={output.omitted} />
          </ResultPart>
        )}
      </div>
    </>
  );
}

/** Download the page of a run, which the browser stores as a file. */
async function savePage(id: string): Promise<void> {
  const { name, html } = await request<RunPage>(`runs/${encodeURIComponent(id)}/page`);
  const href = URL.createObjectURL(new Blob([html], { type: 'text/html' }));
  Object.assign(document.createElement('a'), { href, download: name }).click();
  URL.revokeObjectURL(href);
}

function move(event: React.KeyboardEvent<HTMLElement>, part: Part, setPart: (part: Part) => void): void {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) {
    const next = (PARTS.indexOf(part) + step + PARTS.length) % PARTS.length;
    setPart(PARTS[next]);
    (event.currentTarget.children[next] as HTMLElement).focus();
  }
}

type HeadProps = { run: ExecutionRecord; row: RunRow | null; silent: number | null; ahead?: number } & Pick<
  RunHeaderProps,
  'onStop' | 'onRerun' | 'onGoToCell'
>;

/** The same header as in the run's cell, built from the record. */
function Head({ run, row, silent, ahead, ...on }: HeadProps) {
  const state = (run.status ?? '').toLowerCase();
  const current = { ...(row ?? rowFromRecord(run, new Map(), ahead)), state, isActive: !hasEnded(run), record: run };
  const saved = savedRun({ execution_id: run.execution_id, state })!;
  const times = { now: Date.now(), second: thisSecond(), isLive: false, since: 0, silent };
  const header = buildHeader(saved, current, times);
  const place = useRef<HTMLDivElement>(null);
  useSight(place, !header.ended);
  return (
    <div ref={place}>
      <RunHeader header={header} {...on} />
    </div>
  );
}

function LogPart({ output: { log, count, trouble, end }, ended }: { output: RunOutputState; ended: boolean }) {
  return (
    <>
      <Notice notice={{ kind: 'error', text: trouble?.message ?? '' }} />
      <Log log={log} count={count} ended={!!end || ((ended || trouble?.state === 'refused') && !!trouble)} />
    </>
  );
}

function CurvesPart({ id, output: { curves } }: { id: string; output: RunOutputState }) {
  const runs = useMemo(() => [{ run: short(id), ink: 0, curves }], [curves]);
  const names = useMemo(() => curves.map(({ name }) => name), [curves]);
  const empty = trans.__(
    'No curves yet. To get a curve, print a number with its name at least three times, for example loss: 0.31. Or call %1 in your code.',
    'lk_log(loss=loss)'
  );
  return <Curves runs={runs} names={names} open={6} empty={empty} />;
}

type RecordProps = { record: Answer<ExecutionRecord>; isVisible: VisibilityCheck };

function MetricsPart({ record, isVisible }: RecordProps) {
  const [span, setSpan] = useState<Span | null>(null);
  const { frames, isLoaded, trouble } = useMetrics(record.answer, span, isVisible);
  const problem = trouble ?? record.trouble;
  const empty = isLoaded
    ? trans.__('No measurements: the run just started, or was too short to measure.')
    : trans.__('Asking the cloud …');
  return (
    <>
      <TroubleNotice trouble={problem} />
      <MetricsPlot frames={frames} empty={frames.length || problem ? '' : empty} onWindow={setSpan} />
    </>
  );
}

type ResultProps = Pick<RecordProps, 'record'> & { facts: JournalCode | null };

/** The facts on the result. `facts` of the journal have the code as the user wrote it. */
function ResultPart({ record: { answer: run, trouble }, facts, children }: React.PropsWithChildren<ResultProps>) {
  const code = facts?.code ?? run?.python_code;
  if (!run) {
    return trouble ? (
      <>
        <TroubleNotice trouble={trouble} />
        {children}
        <Code code={code} />
      </>
    ) : (
      <p role="status">{trans.__('Asking the cloud …')}</p>
    );
  }
  const rows: [string, string | null | undefined][] = [
    [trans.__('Run'), run.execution_id],
    [trans.__('Started'), startText(run)],
    [trans.__('Exit code'), run.return_code?.toString()],
    [trans.__('Output'), run.stdout ? bytes(run.stdout.length) : null],
    [trans.__('Labels'), facts?.labels.join(', ')],
    [trans.__('Git commit'), facts?.git_commit]
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
      {children}
      {errors.map((error, at) => (
        <Notice key={at} notice={{ kind: 'error', text: error }} />
      ))}
      <Code code={code} />
    </>
  );
}

function Code({ code }: { code: string | null | undefined }) {
  return code ? (
    <>
      <h3>{trans.__('Code')}</h3>
      <pre className="lk-peek" tabIndex={0} aria-label={trans.__('Code')}>
        {code}
      </pre>
    </>
  ) : null;
}

function TroubleNotice({ trouble }: { trouble: Trouble | null }) {
  return <Notice notice={{ kind: 'error', text: trouble?.message ?? '' }} />;
}

function startText(run: ExecutionRecord): string | null {
  const start = moment(run.start_time);
  return start === null ? null : new Date(start * 1000).toLocaleString();
}
