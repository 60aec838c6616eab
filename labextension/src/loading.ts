/** Run our extension and cells in the kernel of a notebook after a click. */
import { Notification } from '@jupyterlab/apputils';
import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';

import type { CellToRun } from './spending';
import { trans } from './trans';

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
      trans.__('The kernel of this notebook lacks lk_jupyter. Run %pip install lk-jupyter in a cell.')
    );
    return false;
  }
  return true;
}

/** Return a cell as the question before a run shows the cell; the source may be about to change. */
export function cellToRun({ model }: Cell, source = model.sharedModel.source): CellToRun {
  return { source, trusted: model.type !== 'code' || model.trusted };
}

/** Run these cells only: other cells may be selected. */
export async function runCells({ content, sessionContext }: NotebookPanel, cells: Cell[]): Promise<void> {
  await sessionContext.ready;
  await NotebookActions.runCells(content, cells, sessionContext);
}
