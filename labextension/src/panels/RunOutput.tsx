/** The output of a cell that shows a run, and the data saved in the notebook; loaded with the first such output. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { CodeCell } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { MenuSvg, ReactWidget } from '@jupyterlab/ui-components';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import React, { useEffect, useMemo, useReducer, useRef } from 'react';

import '../../style/panel.css';
import { Cloud } from '../cloud';
import type { RunRow } from '../cloudTypes';
import { COMMANDS, asUiCall } from '../commands';
import { Board, savedBoard } from '../board';
import { Leaderboard, LeaderboardActions } from '../components/Leaderboard';
import { HiddenLines, localChip, RunHeader, SeveralHead, useSight } from '../components/RunHeader';
import { buildForms, buildHeader, hiddenLines, SavedRun, savedRun, savedRuns, splitReceipt, textIn } from '../header';
import { toLabPath } from '../labPath';
import { isRemote } from '../magicLine';
import { hasEnded, RUN_MIME } from '../runs';
import { thisSecond } from '../serverClock';
import { trans } from '../trans';
import { CellLog, CellOutputs, findHeader } from './cellLog';

/** Milliseconds without a write after which the kernel no longer updates an output. */
const STALE = 6000;

export interface Tools {
  app: JupyterFrontEnd;
  cloud: Cloud;
  notebooks: INotebookTracker | null;
  /** Ids of the active cells. */
  active: Set<string>;
  /** Models of the cells that this page executed with the present kernel, which may still write their outputs. */
  executed: WeakSet<object>;
}

/** An output that shows a run, or a link to log lines that aren't in the notebook. */
export class RunOutput extends ReactWidget implements IRenderMime.IRenderer {
  private data: unknown = null;
  private board: Board | null = null;
  private since = 0;

  constructor(private readonly tools: Tools) {
    super();
    tools.cloud.changed.connect((_, topic) => topic === 'status' && this.update(), this);
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.data = model.data[RUN_MIME];
    this.board = savedBoard(this.data);
    this.since = Date.now();
    const members = this.board?.members.map(({ saved }) => saved);
    readSoon(this.tools.cloud, members ?? savedRuns(this.data)?.runs ?? [savedRun(this.data)]);
    this.update();
    return Promise.resolve();
  }

  protected render() {
    const { data, since, tools } = this;
    const { commands } = tools.app;
    const hidden = hiddenLines(data);
    if (hidden) {
      const open = () => void commands.execute(COMMANDS.openRun, { id: hidden.id });
      return <HiddenLines count={hidden.count} onOpen={open} />;
    }
    const drawn = (saved: SavedRun, key: number) => (
      <LiveHeader key={key} saved={saved} since={since} tools={tools} place={() => findPlace(this, tools)} />
    );
    if (this.board) {
      return <LiveBoard board={this.board} since={since} tools={tools} place={() => findPlace(this, tools)} />;
    }
    const several = savedRuns(data);
    if (several) {
      const chip = tools.cloud.data.status?.is_local ? localChip(several) : null;
      return (
        <section aria-label={several.head}>
          {several.head && <SeveralHead words={several.head} chip={chip} />}
          {several.runs.map(drawn)}
          <Notes notes={several.notes} />
        </section>
      );
    }
    const saved = savedRun(data);
    return saved && drawn(saved, 0);
  }
}

/** Read the list of active runs soon if it lacks a run that its output shows as running: the burn rate counts the run. */
function readSoon(cloud: Cloud, runs: (SavedRun | null)[]): void {
  const isListed = ({ id }: SavedRun) =>
    cloud.data.running?.some(run => run.execution_id === id && run.status?.toLowerCase() === 'running');
  if (runs.some(run => run?.state === 'running' && !isListed(run))) {
    cloud.invalidate('running');
  }
}

/** Return the notebook and the cell of an output; null outside a notebook, such as in a console. */
function findPlace({ node }: ReactWidget, { notebooks }: Tools): Place | null {
  const box = node.closest('.jp-Cell');
  const panel = box && notebooks?.find(({ content }) => content.node.contains(box));
  const cell = panel?.content.widgets.find(widget => widget.node === box);
  return cell ? { notebook: panel!.context.path, cellId: cell.model.id, model: cell.model as CodeCell['model'] } : null;
}

interface Place {
  notebook: string;
  cellId: string;
  model: CodeCell['model'];
}

/** Lines below several headers. */
function Notes({ notes }: { notes: string[] }) {
  return notes.map((note, at) => (
    <div key={at} className="lk-run-header-note">
      {note}
    </div>
  ));
}

/** Return the cell of an output, whether the cell is active, and the times of a header; redraw when runs change. */
function usePlace(place: () => Place | null, since: number, { cloud, active }: Tools) {
  const [, draw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    cloud.runs.changed.connect(draw);
    return () => void cloud.runs.changed.disconnect(draw);
  }, []);
  const at = place();
  const isLive = !!at && active.has(at.cellId);
  const times = { now: Date.now(), second: thisSecond(), isLive, since, silent: cloud.runs.silentSince };
  return { at, times, draw };
}

interface LiveHeaderProps {
  saved: SavedRun;
  since: number;
  tools: Tools;
  place: () => Place | null;
}

function LiveHeader({ saved, since, tools, place }: LiveHeaderProps) {
  const { app, cloud } = tools;
  const { id, session } = saved;
  const box = useRef<HTMLDivElement>(null);
  const { at, times, draw } = usePlace(place, since, tools);
  const { isLive } = times;
  const run = id === null ? undefined : cloud.runs.find(id);
  const header = buildHeader(saved, session ? undefined : run, times); // the run of a session isn't the cell
  const chip = cloud.data.status?.is_local ? localChip(header) : null;
  const isSettled = header.ended && (run ? !run.isActive && !isVague(run, cloud) : run === null);

  const isVisible = useSight(box, !header.ended);
  useEffect(() => {
    const wish = id && !session && isVisible && !isSettled ? cloud.runs.follow(id) : null;
    return () => wish?.dispose();
  }, [id, session, isVisible, isSettled]);

  const { commands } = app;
  const args = asUiCall({ notebook: at?.notebook, cellId: at?.cellId, id });
  const abort = () => void commands.execute(COMMANDS.abortRun, asUiCall({ id }));
  const mayFollow =
    at && id && !session && !saved.isServer && !isLive && !header.ended && !tools.executed.has(at.model);
  const log = at && id ? findLog(at.model.outputs, id) : undefined;
  const followLog = () => {
    if (hasExtension(cloud) && (saved.logLines || saved.logTail)) {
      startLog(at!.model.outputs, saved, cloud);
      draw();
    } else {
      void commands.execute(COMMANDS.attach, args);
    }
  };
  const interrupt = () => {
    const panel = tools.notebooks?.find(({ context }) => context.path === at?.notebook);
    void panel?.sessionContext.session?.kernel?.interrupt();
  };
  const menuAt = (button: HTMLElement) => {
    const menu = new MenuSvg({ commands });
    menu.addItem({ command: COMMANDS.copyRunId, args: { id } });
    menu.addItem({ command: COMMANDS.openRun, args: { id } });
    if (at) {
      menu.addItem({ command: COMMANDS.attach, args });
    }
    if (session ? run?.isActive : !header.ended) {
      menu.addItem({ command: COMMANDS.abortRun, args: asUiCall({ id }) });
    }
    if (at) {
      menu.addItem({ command: COMMANDS.rerunCell, args });
    }
    const { x, bottom } = button.getBoundingClientRect();
    menu.open(x, bottom);
  };
  return (
    <div ref={box}>
      <RunHeader
        header={header}
        chip={chip}
        stopLabel={session ? trans.__('Interrupt the cell') : undefined}
        onStop={session ? (isLive ? interrupt : undefined) : abort}
        onFollow={mayFollow && !log?.isReading ? followLog : undefined}
        onRerun={at ? () => void commands.execute(COMMANDS.rerunCell, args) : undefined}
        onOpen={() => void commands.execute(COMMANDS.openRun, { id })}
        onMenu={menuAt}
      />
    </div>
  );
}

/** Return whether only the record of an ended run, which wasn't read yet, has the state. */
const isVague = (run: RunRow, cloud: Cloud) => run.state === 'ended' && !cloud.runs.hasAnswer(run.id);

/** Run → the request for its record. */
const requestedRecords = new Map<string, IDisposable>();

/** Return whether the record of a run must be awaited, and request the record. */
function awaitRecord(run: RunRow, cloud: Cloud): boolean {
  if (isVague(run, cloud)) {
    requestedRecords.set(run.id, requestedRecords.get(run.id) ?? cloud.runs.follow(run.id));
    return true;
  }
  requestedRecords.get(run.id)?.dispose();
  requestedRecords.delete(run.id);
  return false;
}

interface LiveBoardProps {
  board: Board;
  since: number;
  tools: Tools;
  place: () => Place | null;
}

/** The leaderboard of runs that were started together, corrected by the server's data. */
function LiveBoard({ board, since, tools, place }: LiveBoardProps) {
  const { app, cloud } = tools;
  const box = useRef<HTMLElement>(null);
  const { at, times } = usePlace(place, since, tools);
  const find = (id: string | null) => (id === null ? undefined : cloud.runs.find(id));
  const headers = board.members.map(({ saved }) => buildHeader(saved, find(saved.id), times));
  const isActive = headers.some(({ ended }) => !ended);
  const isVisible = useSight(box, isActive);
  const followed = isVisible ? headers.flatMap(({ id, ended }) => (id && !ended ? [id] : [])).join(' ') : '';
  useEffect(() => {
    const wishes = followed
      .split(' ')
      .filter(Boolean)
      .map(id => cloud.runs.follow(id));
    return () => wishes.forEach(wish => wish.dispose());
  }, [followed]);
  const current = useRef(at);
  current.current = at;
  const actions = useMemo<LeaderboardActions>(() => {
    const run = (command: string, args: object) =>
      void app.commands.execute(
        command,
        asUiCall({ notebook: current.current?.notebook, cellId: current.current?.cellId, ...args })
      );
    return {
      ...(at && {
        onUse: id => run(COMMANDS.useRun, { id }),
        onRerun: (id, timeout) => run(COMMANDS.rerunLonger, { id, timeout })
      }),
      onStop: id => void app.commands.execute(COMMANDS.abortRun, asUiCall({ id })),
      onStopAll: ids => void stopAll(cloud, ids),
      onOpen: id => void app.commands.execute(COMMANDS.openRun, { id })
    };
  }, [!!at]);
  const shared = { notes: board.notes };
  const chip = cloud.data.status?.is_local ? localChip(shared) : null;
  return (
    <section ref={box} aria-label={board.head}>
      <SeveralHead words={board.head} chip={chip} />
      <Leaderboard board={board} headers={headers} actions={actions} />
      <Notes notes={shared.notes} />
    </section>
  );
}

/** Abort runs after a single question, and report the first failure. */
async function stopAll(cloud: Cloud, ids: string[]): Promise<void> {
  const failure = (await Promise.allSettled(ids.map(id => cloud.abort(id)))).find(
    result => result.status === 'rejected'
  );
  if (failure) {
    Notification.error((failure.reason as Error).message);
  }
  await cloud.refresh('running', 'history');
}

/** The logs that this page continues: outputs of a cell → run → log. */
const logs = new WeakMap<CellOutputs, Map<string, CellLog>>();

const findLog = (outputs: CellOutputs, id: string) => logs.get(outputs)?.get(id);

function startLog(outputs: CellOutputs, saved: SavedRun, cloud: Cloud): CellLog {
  const byRun = logs.get(outputs) ?? new Map<string, CellLog>();
  byRun.get(saved.id!)?.dispose();
  const log = new CellLog(outputs, saved, () => !!cloud.runs.find(saved.id!)?.isActive);
  byRun.set(saved.id!, log);
  logs.set(outputs, byRun);
  return log;
}

/** Return whether the Jupyter server has our extension, and a user is signed in. */
const hasExtension = (cloud: Cloud) => !!cloud.signedIn && cloud.troubles.status?.state !== 'not-allowed';

/**
 * Return the log of a run that this page continues. Without a click, only a run that the journal of this machine has
 * with this notebook starts a request: a notebook from elsewhere can contain any id. In a shared notebook, the page of
 * another user may write the output.
 */
function continueLog(panel: NotebookPanel, outputs: CellOutputs, saved: SavedRun, cloud: Cloud): CellLog | undefined {
  const log = findLog(outputs, saved.id!);
  const hasLog = !!(saved.logLines || saved.logTail);
  if (log || !hasLog || panel.context.model.collaborative || !hasExtension(cloud)) {
    return log;
  }
  const entry = cloud.data.journal?.runs?.find(run => run.execution_id === saved.id);
  return entry?.notebook && toLabPath(entry.notebook) === panel.context.path
    ? startLog(outputs, saved, cloud)
    : undefined;
}

/** Options of cells without the log of a single run. */
const OTHER_VIEW = /\s--?(session|detach|quiet|sweep|attach)\b/;

/**
 * Show the active run of a cell whose notebook was loaded without the output of the run, because the notebook wasn't
 * saved since. The journal of this machine has the notebook and the cell of a run.
 */
function restoreHeader(panel: NotebookPanel, { model }: CodeCell, cloud: Cloud): void {
  const firstLine = model.sharedModel.source.trimStart().split('\n')[0];
  if (panel.context.model.collaborative || !isRemote(firstLine) || OTHER_VIEW.test(firstLine)) {
    return;
  }
  const entry = cloud.data.journal?.runs?.find(run => run.cell_id === model.id);
  const run = entry?.execution_id ? cloud.runs.find(entry.execution_id) : null;
  const isSameNotebook = entry?.notebook && toLabPath(entry.notebook) === panel.context.path && !entry.group;
  if (!isSameNotebook || !run?.isActive || findHeader(model.outputs, run.id) >= 0) {
    return;
  }
  const { id: execution_id, state, machine, pricePerHour } = run;
  const saved = { execution_id, state, machine, log_lines: LOG_LINES };
  const data = { [RUN_MIME]: { ...saved, ...(pricePerHour !== null && { price_per_hour: pricePerHour }) } };
  model.outputs.clear();
  model.outputs.add({ output_type: 'display_data', data: { ...data, 'text/plain': state }, metadata: {} });
}

/** Default of the setting `log_lines`. */
const LOG_LINES = 200;

/**
 * Stop the kernel's writing in the outputs of active runs, so that this page continues them without a gap. A lost
 * connection may have lost lines before Lab noticed, and later lines would follow the gap.
 */
export function leaveKernel(panel: NotebookPanel, { cloud, active, executed }: Tools): void {
  if (panel.context.model.collaborative || !hasExtension(cloud)) {
    return;
  }
  for (const cell of panel.content.widgets) {
    if (cell.model.type === 'code' && active.has(cell.model.id)) {
      const { model, outputArea } = cell as CodeCell;
      const runs = Array.from({ length: model.outputs.length }, (_, at) =>
        savedRun(model.outputs.get(at).data[RUN_MIME])
      );
      if (runs.some(run => run && !run.session && run.logLines && !hasEnded({ status: run.state }))) {
        outputArea.future?.dispose();
        active.delete(model.id);
        executed.delete(model);
      }
    }
  }
}

/**
 * Update outputs of runs that no kernel updates: continue their logs, and save the state in the store in the notebook.
 */
export function keepTrue(panel: NotebookPanel, { cloud, active, executed }: Tools): void {
  for (const cell of panel.content.widgets) {
    if (cell.model.type !== 'code' || active.has(cell.model.id)) {
      continue;
    }
    const { outputs } = (cell as CodeCell).model;
    const mayBeWritten = executed.has(cell.model);
    if (!mayBeWritten) {
      restoreHeader(panel, cell as CodeCell, cloud);
    }
    for (let at = 0; at < outputs.length; at++) {
      const output = outputs.get(at);
      const saved = savedRun(output.data[RUN_MIME]);
      if (!saved?.id || saved.session || hasEnded({ status: saved.state }) || (mayBeWritten && isWritten(output))) {
        continue;
      }
      if (hasExtension(cloud) && !cloud.data.journal) {
        continue; // the journal decides whether the page continues the log
      }
      const log = continueLog(panel, outputs, saved, cloud);
      const run = cloud.runs.find(saved.id);
      if (run === undefined || (log?.isReading && !run?.isActive) || (run && awaitRecord(run, cloud))) {
        continue; // a notebook that shows the run as ended has the complete log
      }
      const isContinued = log && !log.trouble;
      const logState = isContinued ? (log.lacksFigures ? 'without figures' : 'continued') : 'stopped';
      const forms = buildForms(saved, run, output.data, logState);
      if (forms.data['text/plain'] === textIn(output.data['text/plain'])) {
        continue;
      }
      const receipt = mayBeWritten || saved.isServer ? null : splitReceipt(forms);
      outputs.set(at, { ...output.toJSON(), ...(receipt?.heading ?? forms) });
      if (receipt) {
        outputs.add(receipt.output);
      }
    }
  }
}

/**
 * Output → its text and the time at which the text appeared. A kernel that writes an output changes the text every few
 * seconds.
 */
const outputTexts = new WeakMap<object, { text: string; since: number }>();

function isWritten(output: { data: ReadonlyPartialJSONObject }): boolean {
  const text = textIn(output.data['text/plain']);
  const last = outputTexts.get(output);
  if (last?.text !== text) {
    outputTexts.set(output, { text, since: Date.now() });
    return true;
  }
  return Date.now() - last.since < STALE;
}
