/** Cloud runs in Lab's list of running terminals and kernels. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRunningSessionManagers } from '@jupyterlab/running';

import { Cloud } from '../cloud';
import { COMMANDS, asUiCall } from '../commands';
import { cloudIcon } from '../icon';
import { mergeRuns } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { machineName } from '../format';

export const running: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:running',
  description: 'Lists active runs in the sidebar that lists terminals and kernels.',
  autoStart: true,
  requires: [ICloud],
  optional: [IRunningSessionManagers],
  activate: (app: JupyterFrontEnd, cloud: Cloud, managers: IRunningSessionManagers | null) => {
    const going = () => mergeRuns(cloud.data).filter(run => run.isActive);
    managers?.add({
      name: trans.__('GPU cloud runs'),
      running: () =>
        going().map(run => ({
          open: () => void app.commands.execute(COMMANDS.openRun, { id: run.id }),
          shutdown: () => void app.commands.execute(COMMANDS.abortRun, asUiCall({ id: run.id })),
          icon: () => cloudIcon,
          label: () => run.name,
          labelTitle: () => trans.__('%1 on %2', run.state, run.machine),
          detail: () => machineName(run.machine)
        })),
      shutdownAll: () =>
        void Promise.all(going().map(({ id }) => cloud.abort(id))).then(() => cloud.refresh('running', 'history')),
      refreshRunning: () => void cloud.refresh('status', 'running', 'journal'),
      runningChanged: cloud.changed,
      shutdownLabel: trans.__('Abort'),
      shutdownAllLabel: trans.__('Abort all'),
      shutdownAllConfirmationText: trans.__('Abort all runs on the cloud? Their cost so far is billed.')
    });
  }
};
