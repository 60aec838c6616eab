/** The machine menu, and the run of cells on the cloud with our extension in their kernel. Loaded at the first click. */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { MenuSvg } from '@jupyterlab/ui-components';
import { ElementARIAAttrs, h, VirtualElement } from '@lumino/virtualdom';
import { Menu } from '@lumino/widgets';

import { Cloud } from './cloud';
import { asUiCall, COMMANDS } from './commands';
import { priceLabel } from './format';
import { cellToRun, mayRun, runCells } from './loading';
import { machineFacts } from './machineFacts';
import { rememberMachine } from './machineMenu';
import { onMachine, otherMagic } from './magicLine';
import { request } from './request';
import { isMachine } from './runs';
import { trans } from './trans';
import { MachinesContent } from './types';

const LOAD = '%load_ext lk_jupyter';
const LOADS = /^[^\S\n]*%(?:re)?load_ext[^\S\n]+lk_jupyter\b/m;

/**
 * Load the extension, and add the cell with `%load_ext` if the notebook has none. Return false if the kernel lacks the
 * package.
 */
export async function loadExtension({ content, sessionContext }: NotebookPanel): Promise<boolean> {
  const notebook = content.model!.sharedModel;
  if (!notebook.cells.some(cell => cell.cell_type === 'code' && LOADS.test(cell.source))) {
    const first = notebook.cells.findIndex(cell => cell.cell_type === 'code');
    notebook.insertCell(Math.max(first, 0), { cell_type: 'code', source: LOAD, metadata: { trusted: true } });
  }
  await sessionContext.ready;
  const loading = sessionContext.session?.kernel?.requestExecute({ code: LOAD, silent: true, store_history: false });
  const reply = await loading?.done;
  if (reply?.content.status === 'error') {
    Notification.error(
      trans.__("This notebook's kernel doesn't have lk_jupyter. Run %pip install lk-jupyter in a cell.")
    );
    return false;
  }
  return true;
}

/** Draw the facts of a machine in columns. */
class ColumnRenderer extends MenuSvg.Renderer {
  renderLabel(data: Menu.IRenderData): VirtualElement {
    const facts = data.item.label.split(' · ');
    return facts.length > 1
      ? h.div({ className: 'lm-Menu-itemLabel lk-columns' }, ...facts.map(fact => h.span(fact)))
      : super.renderLabel(data);
  }

  createItemARIA(data: Menu.IRenderData): ElementARIAAttrs {
    return { ...super.createItemARIA(data), 'aria-label': data.item.label };
  }
}

/**
 * Build a menu of machines with the facts of the picker: a machine in the menu runs the selected cells, a machine in
 * the submenu is chosen only. The machine of the notebook is marked.
 */
export async function buildMenu(cloud: Cloud, { commands }: JupyterFrontEnd): Promise<Menu> {
  const renderer = new ColumnRenderer();
  const [menu, choices] = [new MenuSvg({ commands, renderer }), new MenuSvg({ commands, renderer })];
  choices.title.label = trans.__('Choose a machine for the notebook');
  for (const [machine, facts] of await listMachines(cloud)) {
    menu.addItem({ command: COMMANDS.runOn, args: asUiCall({ machine, facts }) });
    choices.addItem({ command: COMMANDS.chooseMachine, args: asUiCall({ machine, facts }) });
  }
  if (!menu.items.length) {
    menu.addItem({ command: COMMANDS.openPanel });
  }
  menu.addItem({ type: 'separator' });
  if (choices.items.length) {
    menu.addItem({ type: 'submenu', submenu: choices });
  }
  menu.addItem({ command: COMMANDS.runLocally, args: asUiCall() });
  return menu;
}

/** Return machines with their facts, or with prices if the facts are unavailable. */
async function listMachines(cloud: Cloud): Promise<[string, string][]> {
  try {
    const { rows } = await request<MachinesContent>('machines');
    return (rows ?? []).map(row => [row.profile, machineFacts(row)]);
  } catch {
    if (!cloud.data.machines) {
      await cloud.refresh('status', 'machines');
    }
    const types = cloud.data.machines?.machine_types ?? [];
    return types.map(({ hardware_profile: machine, price_per_hour: price }) => [machine, priceLabel(price)]);
  }
}

const selectedCode = ({ content }: NotebookPanel) => content.selectedCells.filter(cell => cell.model.type === 'code');

/** Run the selected cells on a machine, after the confirmations that the click needs. */
export async function runOn(
  cloud: Cloud,
  panel: NotebookPanel,
  machine: string,
  { isChosen, isUiClick }: { isChosen: boolean; isUiClick: boolean }
): Promise<void> {
  if (!isMachine(machine)) {
    Notification.warning(trans.__("%1 isn't the name of a machine.", JSON.stringify(machine)));
    return;
  }
  const cells = selectedCode(panel);
  const other = cells.map(cell => otherMagic(cell.model.sharedModel.source)).find(Boolean);
  if (other || !cells.length) {
    Notification.warning(
      other
        ? trans.__("A cell that starts with %1 can't run on the cloud. Select a Python cell.", other)
        : trans.__('Select a cell with Python code: only code cells can run on the cloud.')
    );
    return;
  }
  const clicked = cells.map(cell => cellToRun(cell, onMachine(cell.model.sharedModel.source, machine)));
  if (!(await mayRun(cloud, clicked, { verb: trans.__('Run'), isUiClick, isChosen }))) {
    return;
  }
  cells.forEach(({ model }, at) => model.sharedModel.setSource(clicked[at].source));
  rememberMachine(panel, machine);
  if (await loadExtension(panel)) {
    void runCells(panel, cells);
  }
}

/** Run a line of our extension in a new cell below the active cell, after the confirmation that the click needs. */
export async function runInNewCell(
  cloud: Cloud,
  panel: NotebookPanel,
  line: string,
  click: { verb: string; isUiClick: boolean }
): Promise<void> {
  const { content } = panel;
  if (await mayRun(cloud, [cellToRun(content.activeCell!, line)], click)) {
    NotebookActions.insertBelow(content);
    const cell = content.activeCell!;
    cell.model.sharedModel.setSource(line);
    if (await loadExtension(panel)) {
      void runCells(panel, [cell]);
    }
  }
}
