/** A badge on a cell whose runs have no header, with a menu; and a notification when a run ends unseen. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { Cell, CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { MenuSvg } from '@jupyterlab/ui-components';
import { IDisposable } from '@lumino/disposable';

import { costWords, sumBills } from '../bill';
import { Cloud } from '../cloud';
import { RunRow, Topic } from '../cloudTypes';
import { COMMANDS, asUiCall } from '../commands';
import { drawn } from '../icon';
import { isRemote } from '../magicLine';
import { eachSecond, thisSecond } from '../serverClock';
import { computeRowBill, Receipt, receiptsIn, RUN_MIME, mergeRuns } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { duration, machineName } from '../format';
import { toLabPath } from '../labPath';

const ID = 'lk-jupyter:badges';

/**
 * States in which a run costs credits although the cost may still be unknown: a sum without that run would be wrong.
 */
const UNHEARD = new Set(['running', 'ended']);

/** Milliseconds that the notification of a run's end stays. */
const CLOSES_AFTER = 15_000;

export const badges: JupyterFrontEndPlugin<void> = {
  id: ID,
  description:
    "Marks cells that run or ran on the cloud. Notifies you when a run ends, if the cell of the run isn't visible.",
  autoStart: true,
  requires: [ICloud, INotebookTracker],
  optional: [ISettingRegistry],
  activate: (app: JupyterFrontEnd, cloud: Cloud, notebooks: INotebookTracker, registry: ISettingRegistry | null) => {
    let settings: ISettingRegistry.ISettings | undefined;
    void registry?.load(ID).then(loaded => (settings = loaded));
    const marked = new Map<CodeCell, Badge>();
    const ended = (panel: NotebookPanel, cell: CodeCell, receipts: Receipt[]) => {
      const after = Number(settings?.composite.notifyAfter ?? 30);
      const isLong = receipts.some(({ seconds }) => (seconds ?? 0) >= after);
      if ((document.hidden || !panel.isVisible || isLong) && !isInView(cell, receipts)) {
        void tell(app, cloud, panel, cell, receipts);
      }
    };
    const mark = (panel: NotebookPanel) => {
      for (const cell of panel.content.widgets) {
        if (isCode(cell) && !marked.has(cell)) {
          marked.set(cell, new Badge(app, cloud, panel, cell, receipts => ended(panel, cell, receipts)));
          cell.disposed.connect(() => {
            marked.get(cell)?.end();
            marked.delete(cell);
          });
        }
      }
    };
    const watch = (panel: NotebookPanel) =>
      void panel.revealed.then(() => {
        mark(panel);
        panel.content.model?.cells.changed.connect(() => requestAnimationFrame(() => mark(panel)));
      });
    cloud.changed.connect((_, topic) => {
      const cellRuns = mergeRuns(cloud.data).filter(run => run.cellId);
      marked.forEach(badge => badge.update(cellRuns, topic));
    });
    notebooks.forEach(watch);
    notebooks.widgetAdded.connect((_, panel) => watch(panel));
    NotebookActions.executionScheduled.connect((_, { cell }) => marked.get(cell as CodeCell)?.starts());
    NotebookActions.executed.connect((_, { cell }) => marked.get(cell as CodeCell)?.hasRun());
  }
};

/** Check the model: some front ends don't share the module of the class. */
const isCode = (cell: Cell): cell is CodeCell => cell.model.type === 'code';

/** Return whether the user sees the cell or the document of its run, so that a notification would repeat the news. */
function isInView({ node }: CodeCell, receipts: Receipt[]): boolean {
  const runDocument = receipts.length === 1 && document.getElementById(`lk-run-${receipts[0].execution_id}`);
  return (
    document.hasFocus() &&
    [node.querySelector('.lk-run-header') ?? node, runDocument].some(place => {
      const { top, bottom } = place ? place.getBoundingClientRect() : { top: 0, bottom: 0 };
      return bottom > 0 && top < innerHeight;
    })
  );
}

class Badge {
  private readonly button = document.createElement('button');
  private lastRunId: string | undefined;
  /** The active runs of the cell, and all runs that were started with them. */
  private live: RunRow[] = [];
  private wish: IDisposable | null = null;
  private stopClock: (() => void) | null = null;
  /** Unix milliseconds of the start of the cell; 0 when the cell has ended. */
  private sent = 0;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly cloud: Cloud,
    private readonly panel: NotebookPanel,
    private readonly cell: CodeCell,
    private readonly onEnd: (receipts: Receipt[]) => void
  ) {
    this.button.type = 'button';
    this.button.className = 'lk-badge';
    this.button.hidden = true;
    this.button.addEventListener('click', () => this.open());
    this.lastRunId = readReceipts(cell)[0]?.execution_id;
    cell.model.outputs.changed.connect(() => {
      this.look();
      this.draw();
    });
    void cell.ready.then(() => {
      cell.node.querySelector('.jp-Cell-inputWrapper')?.after(this.button);
      this.draw();
    });
  }

  /** Start the timer of a started cell before its run is known. */
  starts(): void {
    if (isRemote(this.cell.model.sharedModel.source)) {
      this.sent = Date.now();
      this.cloud.invalidate('running');
      this.follow();
    }
  }

  /** Handle the end of the cell. Its run may still be active. */
  hasRun(): void {
    this.sent = 0;
    if (this.wish) {
      void this.cloud.refresh('running', 'journal').then(() => this.live.length || this.sent || this.end()); // `sent`: started again
    }
    this.draw();
  }

  /** Update the badge while the run of the cell is active: a detached run outlasts its cell. */
  update(runs: RunRow[], topic: Topic): void {
    const before = this.live.length;
    const cellRuns = runs.filter(run => this.isCellRun(run));
    const going = cellRuns.filter(run => run.isActive);
    const groups = new Set(going.map(run => run.group).filter(Boolean));
    this.live = going.length ? cellRuns.filter(run => run.isActive || groups.has(run.group)) : [];
    if (going.length) {
      this.follow();
    } else if (this.sent) {
      this.cloud.invalidate(topic === 'running' ? 'journal' : 'running'); // alternate between both lists
    } else if (before) {
      this.end();
      this.draw();
    }
  }

  private isCellRun({ cellId, notebook }: RunRow): boolean {
    return cellId === this.cell.model.id && !!notebook && toLabPath(notebook) === this.panel.context.path;
  }

  private follow(): void {
    this.wish ??= this.cloud.subscribe('running', 'journal', 'machines');
    this.stopClock ??= eachSecond(() => this.draw());
    this.draw();
  }

  /** Stop reading updates. */
  end(): void {
    this.wish?.dispose();
    this.wish = null;
    this.stopClock?.();
    this.stopClock = null;
  }

  /** Draw the state of the active or the last run. */
  draw(): void {
    const receipts = readReceipts(this.cell);
    const isOver = this.live.some(run => run.id === receipts[0]?.execution_id); // the receipt arrives before the lists
    const words =
      this.live.length && !isOver ? this.liveWords(this.live) : receipts.length ? receiptWords(receipts) : '';
    this.show(this.hasHeader || (this.sent && !this.live.length) ? '' : words);
  }

  /** Return whether an output of the cell already shows a header. */
  private get hasHeader(): boolean {
    const { outputs } = this.cell.model;
    return Array.from({ length: outputs.length }, (_, at) => outputs.get(at)).some(({ data }) => RUN_MIME in data);
  }

  private liveWords(runs: RunRow[]): string {
    const bills = runs.map(run => computeRowBill(run, thisSecond()));
    const isUnheard = runs.some(
      ({ state }, at) => UNHEARD.has(state) && bills[at].seconds === null && bills[at].cost === null
    );
    const seconds = Math.max(...bills.map(bill => bill.seconds ?? -1));
    return joined(
      stateWords(runs.map(run => ({ sign: stateSign(run), state: run.state }))),
      machineWords(runs.map(run => run.machine)),
      seconds >= 0 && duration(seconds),
      !isUnheard && costWords(bills.length > 1 ? sumBills(bills) : bills[0])
    );
  }

  private look(): void {
    const receipts = readReceipts(this.cell);
    if (receipts.length && receipts[0].execution_id !== this.lastRunId) {
      this.lastRunId = receipts[0].execution_id;
      this.draw();
      this.onEnd(receipts);
    }
  }

  private show(words: string): void {
    this.button.replaceChildren(...drawn(words));
    this.button.title = words && trans.__('Run actions');
    this.button.hidden = !words;
  }

  private open(): void {
    const menu = new MenuSvg({ commands: this.app.commands });
    const ids = this.live.length ? this.live.map(run => run.id) : readReceipts(this.cell).map(run => run.execution_id);
    const place = { notebook: this.panel.context.path, cellId: this.cell.model.id };
    if (ids.length === 1) {
      const [id] = ids;
      menu.addItem({ command: COMMANDS.openRun, args: { id } });
      menu.addItem({ command: COMMANDS.attach, args: asUiCall({ id, ...place }) });
      if (this.live.length) {
        menu.addItem({ command: COMMANDS.abortRun, args: asUiCall({ id }) });
      }
    } else {
      menu.addItem({ command: COMMANDS.openPanel });
    }
    menu.addItem({ command: COMMANDS.rerunCell, args: asUiCall(place) });
    const { x, bottom } = this.button.getBoundingClientRect();
    menu.open(x, bottom);
  }
}

function joined(...facts: (string | false | null | undefined)[]): string {
  return facts.filter(Boolean).join(' · ');
}

const SIGNS: Record<string, string> = {
  ended: '■',
  completed: '✓',
  success: '✓',
  aborted: '■',
  cancelled: '■',
  refused: '✗'
};

/** Return the sign of a state; a badge shows Lab's icon for the sign. */
function stateSign({ state, isActive }: { state: string; isActive: boolean }): string {
  return isActive ? (state === 'running' ? '▶' : '…') : Object.hasOwn(SIGNS, state) ? SIGNS[state] : '✗';
}

/** Return states as text with signs: the state of a single run, or a count for each state. */
function stateWords(runs: { sign: string; state: string }[]): string {
  const counts = new Map<string, number>();
  runs.forEach(({ sign, state }) => {
    const words = `${sign} ${runs.length > 1 ? '%1 ' : ''}${state.replace(/_/g, ' ')}`;
    counts.set(words, (counts.get(words) ?? 0) + 1);
  });
  return [...counts].map(([words, count]) => words.replace('%1', String(count))).join(', ');
}

function machineWords(machines: string[]): string {
  return [...new Set(machines.filter(Boolean).map(machineName))].sort().join(', ');
}

function receiptWords(receipts: Receipt[]): string {
  const bills = receipts.map(({ seconds, cost, cost_is }) => ({
    seconds: seconds ?? null,
    cost: cost === undefined ? null : Number(cost),
    costIs: cost_is ?? 'billed'
  }));
  return joined(
    stateWords(receipts.map(({ state }) => ({ sign: stateSign({ state, isActive: false }), state }))),
    machineWords(receipts.map(({ machine }) => machine ?? '')),
    bills.length === 1 && bills[0].seconds !== null && duration(bills[0].seconds),
    costWords(bills.length > 1 ? sumBills(bills) : bills[0])
  );
}

/** Return the receipts of the runs of a cell, from the last output with receipts. */
function readReceipts({ model: { outputs } }: CodeCell): Receipt[] {
  for (let at = outputs.length - 1; at >= 0; at--) {
    const receipts = receiptsIn(outputs.get(at).metadata);
    if (receipts.length) {
      return receipts;
    }
  }
  return [];
}

async function tell(app: JupyterFrontEnd, cloud: Cloud, panel: NotebookPanel, cell: CodeCell, receipts: Receipt[]) {
  const [receipt] = receipts;
  const { cellTitle } = await import('../components/runGroups');
  const run = cloud.runs.find(receipt.execution_id);
  const title = run && cellTitle(run, cell.model.executionCount);
  const name = title ? trans.__('%1 in %2', title, panel.title.label) : panel.title.label;
  const words = trans.__('%1: %2', name, receiptWords(receipts));
  const place = { notebook: panel.context.path, cellId: cell.model.id };
  Notification.emit(words, receipts.every(({ state }) => state === 'completed') ? 'success' : 'error', {
    autoClose: CLOSES_AFTER, // the list of notifications keeps the notification
    actions: [
      { label: trans.__('Go to cell'), callback: () => void app.commands.execute(COMMANDS.goToCell, place) },
      {
        label: trans.__('Open log'),
        callback: () => void app.commands.execute(COMMANDS.openRun, { id: receipt.execution_id })
      }
    ]
  });
}
