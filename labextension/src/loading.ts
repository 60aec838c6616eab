/** Run cells in the kernel of a notebook after a click. */
import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';

import type * as spending from './spending';

/** Prompt before cells run, with the question's own code, which loads at the first click. */
export async function mayRun(...click: Parameters<typeof spending.mayRun>): Promise<boolean> {
  return (await import('./spending')).mayRun(...click);
}

/** Return a cell as the question before a run shows the cell; the source may be about to change. */
export function cellToRun({ model }: Cell, source = model.sharedModel.source): spending.CellToRun {
  return { source, trusted: model.type !== 'code' || model.trusted };
}

/** Run these cells only: other cells may be selected. */
export async function runCells({ content, sessionContext }: NotebookPanel, cells: Cell[]): Promise<void> {
  await sessionContext.ready;
  await NotebookActions.runCells(content, cells, sessionContext);
}
