/** Open a run in the main area, and go to the cell of a run. */
import { ILabShell, ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { InputDialog, MainAreaWidget, Notification, WidgetTracker, ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

import { Cloud } from '../cloud';
import { COMMANDS, isUiCall } from '../commands';
import { cloudIcon } from '../icon';
import { toLabPath } from '../labPath';
import { cellToRun, mayRun, runCells } from '../loading';
import { isId, notAnId, mergeRuns } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';

export const runs: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:runs',
  description: 'Opens a run with its log, metrics and result, or the cell that started it.',
  autoStart: true,
  requires: [ICloud, IRenderMimeRegistry],
  optional: [ILabShell, INotebookTracker, ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    cloud: Cloud,
    rendermime: IRenderMimeRegistry,
    lab: ILabShell | null,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    const { commands, shell } = app;
    const tracker = new WidgetTracker<MainAreaWidget>({ namespace: 'lk-jupyter-run' });
    const readId = (widget: MainAreaWidget) => widget.id.slice('lk-run-'.length);
    void restorer?.restore(tracker, {
      command: COMMANDS.openRun,
      args: widget => ({ id: readId(widget) }),
      name: readId
    });

    const open = async (id: string) => {
      let widget = tracker.find(one => readId(one) === id);
      if (!widget) {
        const { RunDocument } = await import('../panels/RunDocument');
        const content = new RunDocument(id, cloud, commands, rendermime);
        Object.assign(content.title, { icon: cloudIcon, closable: true });
        widget = new MainAreaWidget({ content });
        widget.id = `lk-run-${id}`;
        if (!lab) {
          widget.addClass('lk-down'); // the main area of Notebook 7 contains a single document
        }
        shell.add(widget, lab ? 'main' : 'down');
        await tracker.add(widget);
      }
      shell.activateById(widget.id);
    };
    commands.addCommand(COMMANDS.openRun, {
      label: args => (args.id ? trans.__('Open the run') : trans.__('Open a run by its id …')),
      describedBy: { args: { type: 'object', properties: { id: { type: 'string' } } } },
      execute: async ({ id }) => {
        const runId = id || (await InputDialog.getText({ title: trans.__('Id of the run') })).value?.trim();
        if (isId(runId)) {
          await open(runId);
        } else if (runId) {
          Notification.warning(notAnId(runId));
        }
      }
    });
    palette?.addItem({ command: COMMANDS.openRun, category: trans.__('GPU cloud') });

    const findCell = async (notebook: string, cellId: string): Promise<NotebookPanel> => {
      const path = toLabPath(notebook);
      const openPanel = notebooks?.find(one => one.context.path === path);
      const panel = openPanel ?? ((await commands.execute('docmanager:open', { path })) as NotebookPanel | undefined);
      if (!panel) {
        throw new Error(trans.__('%1 is open in another browser tab. Look for the cell there.', notebook));
      }
      shell.activateById(panel.id);
      await panel.context.ready;
      await panel.revealed;
      const at = panel.content.widgets.findIndex(cell => cell.model.id === cellId);
      if (at < 0) {
        throw new Error(trans.__('The cell is no longer in %1.', notebook));
      }
      panel.content.activeCellIndex = at;
      await panel.content.scrollToItem(at);
      return panel;
    };
    commands.addCommand(COMMANDS.goToCell, {
      label: trans.__('Go to the cell of the run'),
      describedBy: { args: { type: 'object' } },
      execute: async ({ notebook, cellId }) => void (await findCell(notebook as string, cellId as string))
    });
    const addLineCommand = (
      command: string,
      label: string,
      verb: string,
      lineFor: (id: string, args: object) => string
    ) =>
      commands.addCommand(command, {
        label,
        describedBy: { args: { type: 'object' } },
        execute: async ({ id, notebook, cellId, ...args }) => {
          if (!isId(id)) {
            throw new Error(notAnId(id));
          }
          const panel = await findCell(notebook as string, cellId as string);
          const { runInNewCell } = await import('../runOn');
          await runInNewCell(cloud, panel, lineFor(id, args), { verb, isUiClick: isUiCall(args) });
        }
      });
    const attachLine = (id: string) => `%lk_attach ${id}`;
    const outputLabel = trans.__("Show the run's complete output in a new cell");
    addLineCommand(COMMANDS.attach, outputLabel, trans.__('Show output'), attachLine);
    addLineCommand(COMMANDS.useRun, trans.__('Use this run'), trans.__('Use this run'), attachLine);
    addLineCommand(COMMANDS.rerunLonger, trans.__('Rerun longer'), trans.__('Rerun'), (id, args) => {
      const { timeout } = args as { timeout?: number };
      return `%lk_rerun ${id}${Number.isInteger(timeout) && timeout! > 0 ? ` --timeout ${timeout}` : ''}`;
    });
    const findLastMachine = (path: string, cellId: string) =>
      mergeRuns(cloud.data).find(run => run.cellId === cellId && run.notebook && toLabPath(run.notebook) === path)
        ?.machine;
    commands.addCommand(COMMANDS.rerunCell, {
      label: trans.__('Rerun'),
      describedBy: { args: { type: 'object' } },
      execute: async ({ notebook, cellId, ...args }) => {
        const panel = await findCell(notebook as string, cellId as string);
        const cell = panel.content.activeCell!;
        const machine = findLastMachine(panel.context.path, cell.model.id) || null;
        const click = { verb: trans.__('Rerun'), machine, isUiClick: isUiCall(args) };
        if (await mayRun(cloud, [cellToRun(cell)], click)) {
          void runCells(panel, [cell]).then(() => cloud.refresh('running', 'journal', 'history'));
        }
      }
    });
  }
};
