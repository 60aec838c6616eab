/** A first notebook: the quickstart in this folder, or a new notebook with a first run. */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, showDialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';

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
    await contents.save(path, { type: 'notebook', format: 'json', content: firstNotebook() });
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

function firstNotebook() {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { kernelspec: { name: 'python3', display_name: 'Python 3', language: 'python' } },
    cells: firstCells().map(([cell_type, source], at) => ({
      id: `step-${at}`,
      cell_type,
      source,
      metadata: {},
      ...(cell_type === 'code' ? { outputs: [], execution_count: null } : {})
    }))
  };
}

function firstCells(): [cell_type: 'code' | 'markdown', source: string][] {
  return [
    ['markdown', `# ${trans.__('Quickstart: run a cell on a cloud GPU')}`],
    ['code', '%load_ext lk_jupyter'],
    [
      'markdown',
      trans.__(
        'Sign in with `%lk_login` and an API key. Without an account, `%lk_login --local` starts a local cloud on this machine, with the same API and pretend credits. Your code then runs on the CPU.'
      )
    ],
    ['code', '%lk_whoami'],
    ['markdown', trans.__('Show the machines and their prices in credits per hour:')],
    ['code', '%lk_machines'],
    [
      'markdown',
      trans.__(
        'Put `%1` on top of a cell to run it in the cloud. `--dry-run` shows the highest possible cost.',
        '%%lk_run'
      )
    ],
    ['code', '%%lk_run --gpu A100\nimport platform\n\nprint("Hello from Python", platform.python_version())'],
    ['markdown', trans.__('`%1` lists all options. `%lk_runs` lists your runs.', '%%lk_run?')],
    ['code', '%lk_runs']
  ];
}
