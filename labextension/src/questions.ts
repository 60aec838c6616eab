/** Questions before a command aborts a run, or changes the account or the bucket. Loaded at the first question. */
import { Dialog, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { FileBrowser } from '@jupyterlab/filebrowser';
import { Contents } from '@jupyterlab/services';

import type { Cloud } from './cloud';
import { RunRow } from './cloudTypes';
import { trans } from './trans';

/** Delete the selected items after a confirmation. Lab's confirmation promises a trash, which a bucket lacks. */
export async function remove({ model }: FileBrowser, chosen: Contents.IModel[]): Promise<void> {
  const [first] = chosen;
  if (!first) {
    return;
  }
  const body =
    chosen.length > 1
      ? trans._n('Delete %1 item permanently?', 'Delete %1 items permanently?', chosen.length)
      : first.type === 'directory'
        ? trans.__('Delete %1 and everything in it permanently?', first.name)
        : trans.__('Delete %1 permanently?', first.name);
  const buttons = [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Delete') })];
  const { button } = await showDialog({ title: trans.__('Delete'), body, buttons, defaultButton: 0 });
  try {
    for (const { path } of button.accept ? chosen : []) {
      await model.manager.deleteFile(path);
    }
  } catch (failure) {
    void showErrorMessage(trans.__('Delete'), failure as Error);
  }
}

/** Prompt for an upload with an existing name; null cancels the upload. */
export async function askToOverwrite(name: string): Promise<'keep both' | 'overwrite' | null> {
  const [keepBoth, overwrite] = [trans.__('Keep both'), trans.__('Overwrite')];
  const { button } = await showDialog({
    title: trans.__('Upload'),
    body: trans.__('%1 already exists in the bucket. Overwrite it?', name),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: keepBoth }), Dialog.warnButton({ label: overwrite })],
    defaultButton: 0
  });
  return button.accept ? (button.label === keepBoth ? 'keep both' : 'overwrite') : null;
}

/** Abort a run, or the `members` of an executor's row, after a confirmation. Only a click of ours may name members. */
export async function abortRuns(cloud: Cloud, id: string, members: unknown, isUiCall: boolean): Promise<void> {
  const machines = isUiCall && members ? (members as RunRow[]) : [];
  const name = machines.length ? machines[0].pool : cloud.runs.find(id)?.name || id.slice(0, 8);
  if (await confirmAbort(name, isUiCall)) {
    const active = machines.filter(({ isActive }) => isActive).map(machine => machine.id);
    await Promise.all((machines.length ? active : [id]).map(each => cloud.abort(each)));
    await cloud.refresh('running', 'history');
  }
}

/** Prompt before a run is aborted. After a link's request, Enter keeps the run. */
async function confirmAbort(name: string, isUiCall: boolean): Promise<boolean> {
  const { button } = await showDialog({
    title: trans.__('Abort %1?', name),
    body: trans.__("The run's time until now is billed."),
    buttons: [Dialog.cancelButton({ label: trans.__('Let it run') }), Dialog.warnButton({ label: trans.__('Abort') })],
    defaultButton: isUiCall ? 1 : 0
  });
  return button.accept;
}

/** Prompt before a command that a link on the page requests. */
export async function confirmCall(label: string): Promise<boolean> {
  const { button } = await showDialog({
    title: `${label}?`,
    body: trans.__('A link on this page requests this action.'),
    buttons: [Dialog.cancelButton(), Dialog.okButton()],
    defaultButton: 0
  });
  return button.accept;
}
