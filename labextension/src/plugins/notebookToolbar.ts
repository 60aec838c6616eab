/** "Run on ▾" in the toolbar of notebooks: the selected cells run on a machine, which the notebook remembers. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry, Notification, ToolbarButton } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { MenuSvg } from '@jupyterlab/ui-components';
import { Menu } from '@lumino/widgets';

import { Cloud } from '../cloud';
import { COMMANDS } from '../commands';
import { here, isRemote, onMachine, otherMagic } from '../magicLine';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { machineName } from '../words';

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
      label: ({ machine, price }) =>
        machine
          ? machineName(machine as string) + (typeof price === 'number' ? ` · ${trans.__('%1/h', price)}` : '')
          : trans.__('Run the selected cells on the machine of the notebook'),
      caption: trans.__('Run the selected cells on the cloud'),
      isEnabled,
      isToggled: ({ machine }) => !!machine && chosen(notebooks.currentWidget) === machine,
      describedBy: { args: { type: 'object', properties: { machine: { type: 'string' } } } },
      execute: async ({ machine }) => {
        const panel = notebooks.currentWidget;
        const wanted = (machine as string) || chosen(panel);
        if (panel && wanted) {
          await runOn(panel, wanted);
          void cloud.hear('running', 'journal');
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
        label: trans.__('Run on ▾'),
        tooltip: trans.__('Run the selected cells on a machine of the cloud'),
        onClick: () => void choose(panel)
      });
      return button;
    });
  }
};

/** The machines with their prices, as a menu; the one that the notebook ran on last is marked. */
async function menuOf(cloud: Cloud, { commands }: JupyterFrontEnd): Promise<Menu> {
  if (!cloud.data.machines) {
    await cloud.hear('status', 'machines');
  }
  const menu = new MenuSvg({ commands });
  for (const { hardware_profile: machine, price_per_hour: price } of cloud.data.machines?.machine_types ?? []) {
    menu.addItem({ command: COMMANDS.runOn, args: { machine, price: price ?? null } });
  }
  if (!menu.items.length) {
    menu.addItem({ command: COMMANDS.openPanel });
  }
  menu.addItem({ type: 'separator' });
  menu.addItem({ command: COMMANDS.runHere });
  return menu;
}

function chosen(panel: NotebookPanel | null): string | undefined {
  return (panel?.model?.getMetadata(KEY) as { machine?: string } | undefined)?.machine;
}

async function runOn({ content, model, sessionContext }: NotebookPanel, machine: string): Promise<void> {
  const cells = content.selectedCells.filter(cell => cell.model.type === 'code');
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
  await sessionContext.ready;
  const loading = sessionContext.session?.kernel?.requestExecute({
    code: '%load_ext lk_jupyter',
    silent: true,
    store_history: false
  });
  const reply = await loading?.done;
  if (reply?.content.status === 'error') {
    Notification.error(
      trans.__('The kernel of this notebook has no lk_jupyter: run %pip install lk-jupyter in a cell first.')
    );
    return;
  }
  void NotebookActions.run(content, sessionContext);
}
