/** The quickstart: the notebook in this folder, or a new copy without outputs. */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, showDialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';

import content from './quickstart.json';
import { trans } from './trans';

const NAME = 'quickstart.ipynb';

/**
 * Open the quickstart in a folder. Write a missing notebook first, after a confirmation unless our own button was
 * clicked.
 */
export async function openQuickstart(
  { commands, serviceManager }: JupyterFrontEnd,
  folder: string,
  isUiCall: boolean
): Promise<void> {
  const { contents } = serviceManager;
  const path = PathExt.join(folder, NAME);
  const existing = await contents.get(path, { content: false }).catch(() => null);
  if (!existing) {
    if (!isUiCall && !(await mayWrite(path))) {
      return;
    }
    await contents.save(path, { type: 'notebook', format: 'json', content });
  }
  await commands.execute('docmanager:open', { path });
}

async function mayWrite(path: string): Promise<boolean> {
  const { button } = await showDialog({
    title: trans.__('Create %1?', path),
    body: trans.__('A link on this page requests this action.'),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Create') })],
    defaultButton: 0
  });
  return button.accept;
}
