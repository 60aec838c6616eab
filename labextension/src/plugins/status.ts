/** The status bar: organization, balance and active machines. A click opens the panel. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { NotebookActions } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar, showPopup } from '@jupyterlab/statusbar';
import { Widget } from '@lumino/widgets';

import { Budget, readBalance, readBudget, burnRateWords, creditsWords, currentBurnRate } from '../balance';
import { Cloud } from '../cloud';
import { Topic } from '../cloudTypes';
import { COMMANDS } from '../commands';
import { drawn } from '../icon';
import { mergeRuns } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { machineName } from '../format';

const ID = 'lk-jupyter:status';

/** Milliseconds between two updates while no other view subscribes. */
const LOOK = 30_000;

/** Milliseconds between two updates while a run without a visible cell is active. */
const SOON = 6000;

export const status: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Shows organization, balance and current spending in the status bar.',
  autoStart: true,
  requires: [ICloud],
  optional: [IStatusBar, ISettingRegistry],
  activate: (app: JupyterFrontEnd, cloud: Cloud, bar: IStatusBar | null, registry: ISettingRegistry | null) => {
    if (!bar) {
      return; // Notebook has no status bar
    }
    let settings: ISettingRegistry.ISettings | undefined;
    const item = new Widget({ node: document.createElement('button') });
    item.addClass('lk-statusbar');
    item.node.setAttribute('type', 'button');
    item.node.addEventListener('click', () => {
      if (cloud.signedIn && !cloud.trouble && isActive(cloud)) {
        void showActive(app, cloud, item);
      } else {
        void app.commands.execute(COMMANDS.openPanel);
      }
    });
    const draw = () => {
      const lowest = Number(settings?.composite.lowBalance ?? 5);
      item.node.replaceChildren(...drawn(statusWords(cloud, lowest)));
      item.node.classList.toggle('lk-overdue', !!cloud.data.burnRate?.overdue?.length);
      item.node.title = cloud.trouble?.message || trans.__('Show what is active');
    };
    draw();
    cloud.changed.connect(draw);
    void registry?.load(ID).then(loaded => {
      settings = loaded;
      settings.changed.connect(draw);
      draw();
    });
    bar.registerStatusItem(ID, { item, align: 'right', rank: 900 });
    const look = () => cloud.refresh('status', 'balance', 'burnRate', 'machines', 'running', 'journal');
    void app.restored.then(look);
    let { account } = cloud;
    cloud.changed.connect(() => {
      if (cloud.signedIn && account !== cloud.account) {
        account = cloud.account;
        void look();
      }
    });
    let beats = 0;
    setInterval(() => {
      const isTime = ++beats % (LOOK / SOON) === 0;
      if (document.hidden || cloud.hasSubscribers) {
        return;
      }
      if (isTime) {
        // runs from other machines cost credits too
        void cloud.refresh(
          ...new Set<Topic>(['status', ...(Object.keys(cloud.troubles) as Topic[]), 'running', 'burnRate', 'balance'])
        );
      } else if (cloud.data.running?.length) {
        void cloud.refresh('running'); // the end of a run updates the other topics
      }
    }, SOON);
    NotebookActions.executed.connect((_, { cell }) => {
      if (!cloud.signedIn || /%lk_(login|logout|config|org)/.test(cell.model.sharedModel.source)) {
        void cloud.refresh('status'); // the cell may have changed the account
      }
      if (/%lk_(vm|deploy|undeploy|notebook|kernel)/.test(cell.model.sharedModel.source)) {
        void cloud.refresh('burnRate', 'balance');
      }
    });
  }
};

function isActive({ data }: Cloud): boolean {
  return mergeRuns(data).some(run => run.isActive) || !!currentBurnRate(data)?.things.length;
}

/** Show everything that is billed now, until the user chooses an item. */
async function showActive({ commands }: JupyterFrontEnd, cloud: Cloud, anchor: Widget): Promise<void> {
  const { ActivePopup } = await import('../panels/ActivePopup');
  const popup = showPopup({ body: new ActivePopup(commands, cloud), anchor, align: 'right', hasDynamicSize: true });
  const end = (_: unknown, { id }: { id: string }) => {
    if (id === COMMANDS.openPanel || id === COMMANDS.abortRun) {
      popup?.dispose();
      commands.commandExecuted.disconnect(end);
    }
  };
  commands.commandExecuted.connect(end);
}

/** Return the text of the status bar. A low balance has a sign and words. */
export function statusWords(cloud: Cloud, lowest: number): string {
  const { status: currentStatus, balance } = cloud.data;
  const burnRate = currentBurnRate(cloud.data);
  if (cloud.signedIn === false) {
    return trans.__('☁ GPU cloud: sign in');
  }
  if (cloud.unansweredSince && !cloud.trouble) {
    return trans.__('⚠ GPU cloud: no answer');
  }
  if (!currentStatus || cloud.trouble) {
    return cloud.trouble ? trans.__("⚠ GPU cloud: can't be reached") : trans.__('☁ GPU cloud');
  }
  const remaining = readBalance(balance);
  const going = mergeRuns(cloud.data).filter(run => run.isActive);
  const rented = (burnRate?.things ?? []).filter(thing => thing.kind !== 'run').map(thing => thing.hardware);
  const active = [...going.map(run => machineName(run.machine)), ...rented];
  const overdue = burnRate?.overdue?.length;
  const parts = [
    overdue ? trans.__('✗ VMs to delete: %1', overdue) : null,
    currentStatus.organization?.name,
    balanceWords(remaining, readBudget(balance), lowest, cloud.showsMoney),
    active.length ? trans.__('▶ %1', countedNames(active)) : null,
    burnRate?.things.length && !cloud.showsMoney ? burnRateWords(burnRate) : null
  ].filter(Boolean);
  return `☁ ${parts.join(' · ') || trans.__('GPU cloud')}`;
}

/** Return names in words; a repeated name has its count: `5 × A100`. */
function countedNames(names: string[]): string {
  const counts = new Map<string, number>();
  names.forEach(name => counts.set(name, (counts.get(name) ?? 0) + 1));
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(', ');
}

/** Share of a budget below which it is low: it may be smaller than the lowest balance of an account. */
const LOW_SHARE = 0.2;

function balanceWords(
  remaining: number | null,
  budget: Budget | null,
  lowest: number,
  isInPanel: boolean
): string | null {
  if (remaining === null) {
    return null;
  }
  const words = creditsWords(remaining, budget);
  if (remaining < (budget ? Math.min(lowest, LOW_SHARE * budget.credits) : lowest)) {
    return isInPanel ? trans.__('⚠ low balance') : trans.__('⚠ low: %1', words);
  }
  return isInPanel ? null : words;
}
