/** The extension in the kernel of a notebook: loaded there, and written down for the next time. */
import { Notification } from '@jupyterlab/apputils';
import { NotebookPanel } from '@jupyterlab/notebook';

import { trans } from './trans';

const LOAD = '%load_ext lk_jupyter';
const LOADS = /^\s*%(?:re)?load_ext\s+lk_jupyter\b/m;

/** Load the extension, and add the cell that does it where the notebook has none; false where the kernel lacks it. */
export async function loadExtension({ content, sessionContext }: NotebookPanel): Promise<boolean> {
  const notebook = content.model!.sharedModel;
  if (!notebook.cells.some(cell => cell.cell_type === 'code' && LOADS.test(cell.source))) {
    const first = notebook.cells.findIndex(cell => cell.cell_type === 'code');
    notebook.insertCell(Math.max(first, 0), { cell_type: 'code', source: LOAD });
  }
  await sessionContext.ready;
  const loading = sessionContext.session?.kernel?.requestExecute({ code: LOAD, silent: true, store_history: false });
  const reply = await loading?.done;
  if (reply?.content.status === 'error') {
    Notification.error(
      trans.__('The kernel of this notebook lacks lk_jupyter. Run %pip install lk-jupyter in a cell.')
    );
    return false;
  }
  return true;
}
