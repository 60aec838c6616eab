/** A badge on each cell that runs or ran on the cloud, with a menu; and a notification when a run ends unseen. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator, TranslationBundle } from '@jupyterlab/translation';
import { Menu } from '@lumino/widgets';

import { COMMANDS } from '../commands';
import { signOf } from '../components/RunList';
import { isRemote, machineOf } from '../magicLine';
import { credits, duration, machineName } from '../words';

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
  requires: [INotebookTracker],
  optional: [ISettingRegistry, ITranslator],
  activate: async (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker,
    registry: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('lk-jupyter');
    const settings = await registry?.load(ID);
    const marked = new WeakMap<CodeCell, Badge>();
    const ended = (panel: NotebookPanel, cell: CodeCell, receipt: Receipt) => {
      const after = Number(settings?.composite.notifyAfter ?? 30);
      if (document.hidden || !panel.isVisible || (receipt.seconds ?? 0) >= after) {
        tell(app, panel, cell, receipt, trans);
      }
    };
    const mark = (panel: NotebookPanel) => {
      for (const cell of panel.content.widgets) {
        if (cell instanceof CodeCell && !marked.has(cell)) {
          marked.set(cell, new Badge(app, panel, cell, trans, receipt => ended(panel, cell, receipt)));
        }
      }
    };
    const watch = (panel: NotebookPanel) =>
      void panel.revealed.then(() => {
        mark(panel);
        panel.content.model?.cells.changed.connect(() => requestAnimationFrame(() => mark(panel)));
      });
    notebooks.forEach(watch);
    notebooks.widgetAdded.connect((_, panel) => watch(panel));
    NotebookActions.executionScheduled.connect((_, { cell }) => marked.get(cell as CodeCell)?.starts());
    NotebookActions.executed.connect((_, { cell }) => marked.get(cell as CodeCell)?.draw());
  }
};

class Badge {
  private readonly button = document.createElement('button');
  private known: string | undefined;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly panel: NotebookPanel,
    private readonly cell: CodeCell,
    private readonly trans: TranslationBundle,
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

  /** Mark the cell as one that runs now. */
  starts(): void {
    const source = this.cell.model.sharedModel.source;
    if (isRemote(source)) {
      const machine = machineOf(source);
      this.show(machine ? this.trans.__('▶ on %1', machineName(machine)) : this.trans.__('▶ on the cloud'));
    }
  }

  /** Tell what the last run of the cell was. */
  draw(): void {
    const receipt = receiptOf(this.cell);
    const facts = receipt && [
      `${signOf({ state: receipt.state, goingOn: false })} ${receipt.state.replace(/_/g, ' ')}`,
      receipt.machine && machineName(receipt.machine),
      receipt.seconds !== undefined && duration(receipt.seconds),
      receipt.cost && this.trans.__('%1 credits', credits(Number(receipt.cost)))
    ];
    this.show(facts ? facts.filter(Boolean).join(' · ') : '');
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
    this.button.title = words && this.trans.__('What can be done with this run');
    this.button.hidden = !words;
  }

  private open(): void {
    const menu = new Menu({ commands: this.app.commands });
    const id = receiptOf(this.cell)?.execution_id;
    const place = { notebook: this.panel.context.path, cellId: this.cell.model.id };
    if (id) {
      menu.addItem({ command: COMMANDS.openRun, args: { id } });
      menu.addItem({ command: COMMANDS.attach, args: { id, ...place } });
    } else {
      menu.addItem({ command: COMMANDS.openPanel });
    }
    menu.addItem({ command: COMMANDS.rerunCell, args: place });
    const { left, bottom } = this.button.getBoundingClientRect();
    menu.open(left, bottom);
  }
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

function tell(app: JupyterFrontEnd, panel: NotebookPanel, cell: CodeCell, receipt: Receipt, trans: TranslationBundle) {
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
