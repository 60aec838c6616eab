/** A guard for widgets that a notebook was saved with. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

import { holdBack } from '../savedWidgets';

export const savedWidgets: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:saved-widgets',
  description: 'Blocks the saved widgets of a notebook until you trust the notebook, because widgets can contain code.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (app: JupyterFrontEnd, notebooks: INotebookTracker) => {
    const guarded = new WeakSet<object>();
    const onTrust = (panelId: string) => {
      app.shell.activateById(panelId);
      void app.commands.execute('notebook:trust'); // Lab prompts, and signs the notebook
    };
    const guard = ({ context: { model } }: NotebookPanel) => {
      if (!guarded.has(model)) {
        guarded.add(model);
        holdBack(model, { notebooks, onTrust });
      }
    };
    notebooks.forEach(guard);
    notebooks.widgetAdded.connect((_, panel) => guard(panel));
  }
};
