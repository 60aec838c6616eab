/** The machine menu of notebooks: run the selected cells on a machine, which the notebook remembers. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, IToolbarWidgetRegistry, Notification } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { Cloud } from '../cloud';
import { COMMANDS, isUiCall, asUiCall } from '../commands';
import { cellToRun, mayRun, runCells } from '../loading';
import { chosenMachine, MachineButton, rememberMachine, reportMachine } from '../machineMenu';
import { withoutMagic, isRemote } from '../magicLine';
import { isMachine } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { machineName } from '../format';

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

    NotebookActions.executionScheduled.connect((_, { notebook, cell }) => {
      const panel = notebooks.find(({ content }) => content === notebook);
      if (panel) {
        reportMachine(panel, cell.model);
      }
    });
    const buttons = new WeakMap<NotebookPanel, MachineButton>();
    const machineLabel = ({ machine, facts, ...args }: ReadonlyPartialJSONObject) =>
      isMachine(machine) && [machineName(machine), isUiCall(args) && (facts as string)].filter(Boolean).join(' · ');
    const isToggled = ({ machine }: ReadonlyPartialJSONObject) =>
      !!machine && chosenMachine(notebooks.currentWidget) === machine;
    const describedBy = { args: { type: 'object', properties: { machine: { type: 'string' } } } };
    const onMachine = { isEnabled, isToggled, describedBy };
    commands.addCommand(COMMANDS.chooseMachine, {
      label: args => machineLabel(args) || trans.__('Choose a machine for the notebook'),
      caption: trans.__('Choose a machine for the notebook, without running a cell'),
      ...onMachine,
      execute: async ({ machine, ...args }) => {
        const panel = notebooks.currentWidget;
        if (panel && isMachine(machine) && isUiCall(args)) {
          rememberMachine(panel, machine);
        } else if (panel) {
          await buttons.get(panel)?.open();
        }
      }
    });
    commands.addCommand(COMMANDS.runOn, {
      label: args => machineLabel(args) || trans.__('Run the selected cells on the cloud machine of this notebook'),
      caption: trans.__('Run the selected cells on the cloud'),
      ...onMachine,
      execute: async ({ machine, ...args }) => {
        const panel = notebooks.currentWidget;
        const target = (machine as string) || chosenMachine(panel);
        if (panel && target) {
          const isChosen = !!machine && isUiCall(args); // the menu showed the price of the chosen machine
          const { runOn } = await import('../runOn');
          await runOn(cloud, panel, target, { isChosen, isUiClick: isChosen || !machine });
          void cloud.refresh('running', 'journal');
        } else if (panel) {
          await buttons.get(panel)?.open();
        } else {
          Notification.warning(trans.__('Open a notebook and select a cell first.'));
        }
      }
    });
    commands.addCommand(COMMANDS.runLocally, {
      label: trans.__('Run the selected cells in this kernel again'),
      isEnabled,
      describedBy: { args: { type: 'object' } },
      execute: async args => {
        const panel = notebooks.currentWidget!;
        const cells = panel.content.selectedCells;
        const sources = cells.map(({ model }) => withoutMagic(model.sharedModel.source));
        const clicked = cells.map((cell, at) => cellToRun(cell, sources[at]));
        if (await mayRun(cloud, clicked, { verb: trans.__('Run'), isUiClick: isUiCall(args) })) {
          cells.forEach(
            ({ model }, at) => isRemote(model.sharedModel.source) && model.sharedModel.setSource(sources[at])
          );
          void runCells(panel, cells);
        }
      }
    });
    commands.addCommand(COMMANDS.insert, {
      label: trans.__('Insert code into a new cell'),
      isEnabled,
      describedBy: { args: { type: 'object', properties: { code: { type: 'string' } } } },
      execute: async ({ code, ...args }) => {
        const panel = notebooks.currentWidget;
        if (!panel) {
          Notification.warning(trans.__('Open a notebook first.'));
          return;
        }
        const words = [trans.__('A link on this page requests this action.')];
        const [title, verb] = [trans.__('Insert this code into a new cell?'), trans.__('Insert')];
        const mayInsert = async () =>
          (await import('../sourceDialog')).askWithSource(title, words, [code as string], verb);
        if (!isUiCall(args) && !(await mayInsert())) {
          return;
        }
        NotebookActions.insertBelow(panel.content);
        panel.content.activeCell!.model.sharedModel.setSource(code as string);
        app.shell.activateById(panel.id);
      }
    });
    palette?.addItem({ command: COMMANDS.runOn, category });
    palette?.addItem({ command: COMMANDS.chooseMachine, category });
    palette?.addItem({ command: COMMANDS.runLocally, category, args: asUiCall() });
    toolbars?.addFactory<NotebookPanel>('Notebook', 'lk-run-on', panel => {
      const button = new MachineButton(cloud, panel, async () => (await import('../runOn')).buildMenu(cloud, app));
      buttons.set(panel, button);
      return button;
    });
  }
};
