/** "Run on" in the toolbar of notebooks: the selected cells run on a machine, which the notebook remembers. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry, Notification, ToolbarButton } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { caretDownEmptyIcon, MenuSvg } from '@jupyterlab/ui-components';
import { Menu } from '@lumino/widgets';

import { Cloud } from '../cloud';
import { COMMANDS } from '../commands';
import { loadExtension } from '../loading';
import { factsOf } from '../machineFacts';
import { here, isRemote, onMachine, otherMagic } from '../magicLine';
import { request } from '../request';
import { isMachine } from '../runs';
import { maySpend } from '../spending';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { MachinesContent } from '../types';
import { machineName } from '../format';

/** Where the choice stands in the metadata of a notebook. */
const KEY = 'lk_jupyter';

export const notebookToolbar: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:notebook-toolbar',
  description: 'Runs the selected cells of a notebook on a machine of the cloud.',
  autoStart: true,
  requires: [ICloud, INotebookTracker],
  optional: [IToolbarWidgetRegistry, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    cloud: Cloud,
    notebooks: INotebookTracker,
    toolbars: IToolbarWidgetRegistry | null,
    palette: ICommandPalette | null
  ) => {
    const { commands } = app;
    const isEnabled = () => !!notebooks.currentWidget;
    const category = trans.__('GPU cloud');

    const choose = async (panel: NotebookPanel) => {
      const menu = await menuOf(cloud, app);
      const { left, bottom } = panel.toolbar.node.querySelector('.lk-run-on')!.getBoundingClientRect();
      menu.open(left, bottom);
    };
    commands.addCommand(COMMANDS.runOn, {
      label: ({ machine, facts }) =>
        machine
          ? [machineName(machine as string), facts as string].filter(Boolean).join(' · ')
          : trans.__('Run the selected cells on the machine of the notebook'),
      caption: trans.__('Run the selected cells on the cloud'),
      isEnabled,
      isToggled: ({ machine }) => !!machine && chosen(notebooks.currentWidget) === machine,
      describedBy: { args: { type: 'object', properties: { machine: { type: 'string' } } } },
      execute: async ({ machine }) => {
        const panel = notebooks.currentWidget;
        const wanted = (machine as string) || chosen(panel);
        if (panel && wanted) {
          const cells = codeOf(panel).map(cell => onMachine(cell.model.sharedModel.source, wanted));
          if (machine || (await maySpend(cloud, cells, null, trans.__('Run')))) {
            await runOn(panel, wanted); // who chose the machine has seen its price
          }
          void cloud.refresh('running', 'journal');
        } else if (panel) {
          await choose(panel);
        } else {
          Notification.warning(trans.__('Open a notebook and select a cell first.'));
        }
      }
    });
    commands.addCommand(COMMANDS.runHere, {
      label: trans.__('Run the selected cells in this kernel again'),
      isEnabled,
      describedBy: { args: { type: 'object' } },
      execute: () => {
        const { content, sessionContext } = notebooks.currentWidget!;
        for (const { model } of content.selectedCells) {
          if (isRemote(model.sharedModel.source)) {
            model.sharedModel.setSource(here(model.sharedModel.source));
          }
        }
        void NotebookActions.run(content, sessionContext);
      }
    });
    commands.addCommand(COMMANDS.insert, {
      label: trans.__('Insert code into a new cell'),
      isEnabled,
      describedBy: { args: { type: 'object', properties: { code: { type: 'string' } } } },
      execute: ({ code }) => {
        const panel = notebooks.currentWidget;
        if (!panel) {
          Notification.warning(trans.__('Open a notebook first.'));
          return;
        }
        NotebookActions.insertBelow(panel.content);
        panel.content.activeCell!.model.sharedModel.setSource(code as string);
        app.shell.activateById(panel.id);
      }
    });
    palette?.addItem({ command: COMMANDS.runOn, category });
    palette?.addItem({ command: COMMANDS.runHere, category });
    toolbars?.addFactory<NotebookPanel>('Notebook', 'lk-run-on', panel => {
      const button = new ToolbarButton({
        className: 'lk-run-on',
        label: trans.__('Run on'),
        icon: caretDownEmptyIcon,
        tooltip: trans.__('Run the selected cells on a machine of the cloud'),
        onClick: () => void choose(panel)
      });
      return button;
    });
  }
};

/** The machines with what the picker says of them, as a menu; the one that the notebook ran on last is marked. */
async function menuOf(cloud: Cloud, { commands }: JupyterFrontEnd): Promise<Menu> {
  const menu = new MenuSvg({ commands });
  for (const [machine, facts] of await machinesOf(cloud)) {
    menu.addItem({ command: COMMANDS.runOn, args: { machine, facts } });
  }
  if (!menu.items.length) {
    menu.addItem({ command: COMMANDS.openPanel });
  }
  menu.addItem({ type: 'separator' });
  menu.addItem({ command: COMMANDS.runHere });
  return menu;
}

/** Each machine with its facts; where these cannot be had, with its price. */
async function machinesOf(cloud: Cloud): Promise<[string, string][]> {
  try {
    const { rows } = await request<MachinesContent>('machines');
    return (rows ?? []).map(row => [row.profile, factsOf(row)]);
  } catch {
    if (!cloud.data.machines) {
      await cloud.refresh('status', 'machines');
    }
    const types = cloud.data.machines?.machine_types ?? [];
    return types.map(({ hardware_profile: machine, price_per_hour: price }) => [
      machine,
      typeof price === 'number' ? trans.__('%1/h', price) : ''
    ]);
  }
}

function chosen(panel: NotebookPanel | null): string | undefined {
  const machine = (panel?.model?.getMetadata(KEY) as { machine?: unknown } | undefined)?.machine;
  return isMachine(machine) ? machine : undefined; // somebody may have sent the notebook
}

const codeOf = ({ content }: NotebookPanel) => content.selectedCells.filter(cell => cell.model.type === 'code');

async function runOn(panel: NotebookPanel, machine: string): Promise<void> {
  const { content, model, sessionContext } = panel;
  if (!isMachine(machine)) {
    Notification.warning(trans.__("%1 isn't the name of a machine.", JSON.stringify(machine)));
    return;
  }
  const cells = codeOf(panel);
  const other = cells.map(cell => otherMagic(cell.model.sharedModel.source)).find(Boolean);
  if (other || !cells.length) {
    Notification.warning(
      other
        ? trans.__('A cell that begins with %1 cannot run on the cloud. Only Python cells can.', other)
        : trans.__('Select a cell with code. Only Python cells can.')
    );
    return;
  }
  for (const { model: cell } of cells) {
    cell.sharedModel.setSource(onMachine(cell.sharedModel.source, machine));
  }
  model?.setMetadata(KEY, { ...(model.getMetadata(KEY) as object | undefined), machine });
  if (await loadExtension(panel)) {
    void NotebookActions.run(content, sessionContext);
  }
}
