/** A badge on each cell that runs or ran on the cloud, with a menu; and a notification when a run ends unseen. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { MenuSvg } from '@jupyterlab/ui-components';
import { IDisposable } from '@lumino/disposable';

import { Cloud, Topic } from '../cloud';
import { COMMANDS } from '../commands';
import { RunRow, signOf, soFar } from '../components/RunList';
import { isRemote, machineOf } from '../magicLine';
import { runsOf } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { credits, duration, machineName } from '../words';
import { pathOf } from './runs';

const ID = 'lk-jupyter:badges';

/** What the metadata of an output keeps of a run. */
interface Receipt {
  execution_id: string;
  state: string;
  machine?: string;
  seconds?: number;
  cost?: string;
}

export const badges: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Marks cells that run or ran on the cloud, and tells when a run ends that nobody looks at.',
  autoStart: true,
  requires: [ICloud, INotebookTracker],
  optional: [ISettingRegistry],
  activate: (app: JupyterFrontEnd, cloud: Cloud, notebooks: INotebookTracker, registry: ISettingRegistry | null) => {
    let settings: ISettingRegistry.ISettings | undefined;
    void registry?.load(ID).then(loaded => (settings = loaded));
    const marked = new Map<CodeCell, Badge>();
    const ended = (panel: NotebookPanel, cell: CodeCell, receipt: Receipt) => {
      const after = Number(settings?.composite.notifyAfter ?? 30);
      if (document.hidden || !panel.isVisible || (receipt.seconds ?? 0) >= after) {
        tell(app, panel, cell, receipt);
      }
    };
    const mark = (panel: NotebookPanel) => {
      for (const cell of panel.content.widgets) {
        if (cell instanceof CodeCell && !marked.has(cell)) {
          marked.set(cell, new Badge(app, cloud, panel, cell, receipt => ended(panel, cell, receipt)));
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
      const going = runsOf(cloud.data).filter(run => run.goingOn && run.cellId);
      marked.forEach(badge => badge.hear(going, topic));
    });
    notebooks.forEach(watch);
    notebooks.widgetAdded.connect((_, panel) => watch(panel));
    NotebookActions.executionScheduled.connect((_, { cell }) => marked.get(cell as CodeCell)?.starts());
    NotebookActions.executed.connect((_, { cell }) => marked.get(cell as CodeCell)?.hasRun());
  }
};

class Badge {
  private readonly button = document.createElement('button');
  private known: string | undefined;
  /** The run of the cell that goes on, as it was heard last. */
  private live: RunRow | null = null;
  private wish: IDisposable | null = null;
  private clock = 0;
  /** When the cell was sent, while it is not done. */
  private sent = 0;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly cloud: Cloud,
    private readonly panel: NotebookPanel,
    private readonly cell: CodeCell,
    private readonly onEnd: (receipt: Receipt) => void
  ) {
    this.button.type = 'button';
    this.button.className = 'lk-badge';
    this.button.hidden = true;
    this.button.addEventListener('click', () => this.open());
    this.known = receiptOf(cell)?.execution_id;
    cell.model.outputs.changed.connect(() => this.look());
    void cell.ready.then(() => {
      cell.node.querySelector('.jp-Cell-inputWrapper')?.after(this.button);
      this.draw();
    });
  }

  /** The cell is sent: count on until its run is heard of. */
  starts(): void {
    if (isRemote(this.cell.model.sharedModel.source)) {
      this.sent = Date.now();
      this.cloud.expect('running');
      this.follow();
    }
  }

  /** The cell has ended; its run may go on. */
  hasRun(): void {
    this.sent = 0;
    if (this.wish) {
      void this.cloud.hear('running', 'journal').then(() => this.live || this.sent || this.end()); // sent anew, it counts on
    }
    this.draw();
  }

  /** Count on while the run of the cell goes on, which one that was detached does after its cell. */
  hear(going: RunRow[], topic: Topic): void {
    const before = this.live;
    this.live = going.find(run => this.isMine(run)) ?? null;
    if (this.live) {
      this.follow();
    } else if (this.sent) {
      this.cloud.expect(topic === 'running' ? 'journal' : 'running'); // the two by turns, until both know it
    } else if (before) {
      this.end();
      this.draw();
    }
  }

  private isMine({ cellId, notebook }: RunRow): boolean {
    return cellId === this.cell.model.id && !!notebook && pathOf(notebook) === this.panel.context.path;
  }

  private follow(): void {
    this.wish ??= this.cloud.want('running', 'journal', 'machines');
    this.clock ||= window.setInterval(() => this.draw(), 1000);
    this.draw();
  }

  /** Ask for no more news. */
  end(): void {
    this.wish?.dispose();
    this.wish = null;
    window.clearInterval(this.clock);
    this.clock = 0;
  }

  /** Tell what the run of the cell is, or what the last one was. */
  draw(): void {
    const receipt = receiptOf(this.cell);
    const live = this.live?.id === receipt?.execution_id ? null : this.live; // a receipt knows the end first
    this.show(live ? this.liveWords(live) : this.sent ? this.sentWords() : receipt ? this.words(receipt) : '');
  }

  private sentWords(): string {
    const machine = machineOf(this.cell.model.sharedModel.source);
    const words = machine ? trans.__('▶ on %1', machineName(machine)) : trans.__('▶ on the cloud');
    return joined(words, duration((Date.now() - this.sent) / 1000));
  }

  private liveWords(run: RunRow): string {
    const { seconds, cost } = soFar(run, Date.now() / 1000);
    return joined(
      `${signOf(run)} ${run.state.replace(/_/g, ' ')}`,
      run.machine && machineName(run.machine),
      seconds !== null && duration(seconds),
      cost !== null && trans.__('≈ %1 credits', credits(cost))
    );
  }

  private words({ state, machine, seconds, cost }: Receipt): string {
    return joined(
      `${signOf({ state, goingOn: false })} ${state.replace(/_/g, ' ')}`,
      machine && machineName(machine),
      seconds !== undefined && duration(seconds),
      cost && trans.__('%1 credits', credits(Number(cost)))
    );
  }

  private look(): void {
    const receipt = receiptOf(this.cell);
    if (receipt && receipt.execution_id !== this.known) {
      this.known = receipt.execution_id;
      this.draw();
      this.onEnd(receipt);
    }
  }

  private show(words: string): void {
    this.button.textContent = words;
    this.button.title = words && trans.__('What can be done with this run');
    this.button.hidden = !words;
  }

  private open(): void {
    const menu = new MenuSvg({ commands: this.app.commands });
    const id = this.live?.id ?? receiptOf(this.cell)?.execution_id;
    const place = { notebook: this.panel.context.path, cellId: this.cell.model.id };
    if (id) {
      menu.addItem({ command: COMMANDS.openRun, args: { id } });
      menu.addItem({ command: COMMANDS.attach, args: { id, ...place } });
      if (this.live) {
        menu.addItem({ command: COMMANDS.abortRun, args: { id, name: this.live.name } });
      }
    } else {
      menu.addItem({ command: COMMANDS.openPanel });
    }
    menu.addItem({ command: COMMANDS.rerunCell, args: place });
    const { left, bottom } = this.button.getBoundingClientRect();
    menu.open(left, bottom);
  }
}

function joined(...facts: (string | false | undefined)[]): string {
  return facts.filter(Boolean).join(' · ');
}

function receiptOf({ model: { outputs } }: CodeCell): Receipt | null {
  for (let at = outputs.length - 1; at >= 0; at--) {
    const found = outputs.get(at).metadata?.lk_jupyter as Receipt | undefined;
    if (found?.execution_id) {
      return found;
    }
  }
  return null;
}

function tell(app: JupyterFrontEnd, panel: NotebookPanel, cell: CodeCell, receipt: Receipt) {
  const words = trans.__('%1: run %2 %3', panel.title.label, receipt.execution_id.slice(0, 8), receipt.state);
  const place = { notebook: panel.context.path, cellId: cell.model.id };
  Notification.emit(words, receipt.state === 'completed' ? 'success' : 'error', {
    autoClose: false,
    actions: [
      { label: trans.__('Go to cell'), callback: () => void app.commands.execute(COMMANDS.goToCell, place) },
      {
        label: trans.__('Open log'),
        callback: () => void app.commands.execute(COMMANDS.openRun, { id: receipt.execution_id })
      }
    ]
  });
}
