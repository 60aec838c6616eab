/** The shared Cloud of all plugins, and the commands that need only the Cloud. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, ICommandPalette, InputDialog, Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Cloud } from '../cloud';
import { COMMANDS, isUiCall, asUiCall } from '../commands';
import { request } from '../request';
import { isId, notAnId } from '../runs';
import { ICloud } from '../tokens';
import { speak, trans } from '../trans';
import { MyOrg, StatusContent } from '../types';

export const cloudPlugin: JupyterFrontEndPlugin<Cloud> = {
  id: 'lk-jupyter:cloud',
  description: 'Connects JupyterLab to the GPU cloud: signs in, lists runs, switches organizations.',
  autoStart: true,
  provides: ICloud,
  optional: [ICommandPalette, ITranslator],
  activate: (app: JupyterFrontEnd, palette: ICommandPalette | null, translator: ITranslator | null) => {
    speak((translator ?? nullTranslator).load('lk-jupyter'));
    const cloud = new Cloud();
    const become = async (path: string, body?: unknown) => {
      const status = await request<StatusContent>(path, { method: 'POST', body });
      await cloud.replaceStatus(status);
      if (status.said?.length) {
        Notification.info(status.said.join('\n'));
      }
    };
    const add = (command: string, label: string, execute: (args: Record<string, unknown>) => Promise<unknown>) => {
      app.commands.addCommand(command, { label, execute, describedBy: { args: { type: 'object' } } });
      palette?.addItem({ command, category: trans.__('GPU cloud'), args: asUiCall() });
    };

    const [signOut, useLocal] = [trans.__('Sign out of the GPU cloud'), trans.__('Use the free local cloud')];
    add(COMMANDS.signOut, signOut, async args => (await confirmCall(args, signOut)) && become('signout'));
    add(COMMANDS.useLocalCloud, useLocal, async args => (await confirmCall(args, useLocal)) && become('local'));
    add(COMMANDS.refresh, trans.__('Refresh the displayed state of the GPU cloud'), () =>
      cloud.refresh('status', 'running', 'journal', 'history', 'balance')
    );
    add(COMMANDS.switchOrganization, trans.__('Switch to another organization on the GPU cloud …'), async () => {
      const orgs = await request<MyOrg[]>('api/orgs');
      const { value } = await InputDialog.getItem({
        title: trans.__('Organization'),
        items: orgs.map(org => org.slug)
      });
      await (value && become('organization', { slug: value }));
    });
    app.commands.addCommand(COMMANDS.copyRunId, {
      label: ({ id }) => (isId(id) ? trans.__('Copy the id %1', id.slice(0, 8)) : trans.__('Copy the id of a run')),
      describedBy: { args: { type: 'object', properties: { id: { type: 'string' } } } },
      execute: ({ id }) => {
        if (!isId(id)) {
          throw new Error(notAnId(id)); // a pasted line break would run a shell command
        }
        Clipboard.copyToSystem(id);
      }
    });
    app.commands.addCommand(COMMANDS.abortRun, {
      label: trans.__('Abort run'),
      describedBy: { args: { type: 'object', properties: { id: { type: 'string' } } } },
      execute: async ({ id, members, ...args }) => {
        if (!isId(id)) {
          throw new Error(notAnId(id));
        }
        const { abortRuns } = await import('../questions');
        await abortRuns(cloud, id, members, isUiCall(args));
      }
    });
    add(COMMANDS.stopAll, trans.__('Stop everything that is billed by time …'), async () => {
      const { stopAll } = await import('../stopAll');
      await stopAll(cloud);
    });
    return cloud;
  }
};

/** Require a confirmation before a command changes the account, except after a click on our own buttons. */
async function confirmCall(args: { caller?: unknown }, label: string): Promise<boolean> {
  return isUiCall(args) || (await import('../questions')).confirmCall(label);
}
