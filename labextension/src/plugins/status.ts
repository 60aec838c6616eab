/** The status bar: organization, balance, what burns credits now. A click opens the panel. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { Widget } from '@lumino/widgets';

import { balanceOf } from '../balance';
import { Cloud, Topic } from '../cloud';
import { COMMANDS } from '../commands';
import { runsOf } from '../runs';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { credits, machineName } from '../words';

const ID = 'lk-jupyter:status';

/** Milliseconds from one look to the next while runs go on, or something is wrong, and nothing else hears of it. */
const LOOK = 30_000;

export const status: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Shows organization, balance and what burns credits in the status bar.',
  autoStart: true,
  requires: [ICloud],
  optional: [IStatusBar, ISettingRegistry],
  activate: (app: JupyterFrontEnd, cloud: Cloud, bar: IStatusBar | null, registry: ISettingRegistry | null) => {
    if (!bar) {
      return; // Notebook has none
    }
    let settings: ISettingRegistry.ISettings | undefined;
    const item = new Widget({ node: document.createElement('button') });
    item.addClass('lk-statusbar');
    item.node.setAttribute('type', 'button');
    item.node.addEventListener('click', () => void app.commands.execute(COMMANDS.openPanel));
    const draw = () => {
      const lowest = Number(settings?.composite.lowBalance ?? 5);
      item.node.textContent = wordsOf(cloud, lowest);
      item.node.title = cloud.trouble?.message || trans.__('Open the panel of the GPU cloud');
    };
    draw();
    cloud.changed.connect(draw);
    void registry?.load(ID).then(loaded => {
      settings = loaded;
      settings.changed.connect(draw);
      draw();
    });
    bar.registerStatusItem(ID, { item, align: 'right', rank: 900 });
    const look = () => cloud.hear('status', 'balance', 'machines', 'running', 'journal');
    void app.restored.then(look);
    setInterval(() => {
      const troubled = Object.keys(cloud.troubles) as Topic[];
      if (!document.hidden && !cloud.isWanted && (cloud.data.running?.length || troubled.length)) {
        void cloud.hear(...new Set<Topic>([...troubled, 'running', 'balance']));
      }
    }, LOOK);
  }
};

/** The line; a low balance is said with a sign and in words. */
export function wordsOf(cloud: Cloud, lowest: number): string {
  const { status: told, balance } = cloud.data;
  if (cloud.signedIn === false) {
    return trans.__('☁ GPU cloud: sign in');
  }
  if (!told || cloud.trouble) {
    return cloud.trouble ? trans.__('⚠ GPU cloud: out of reach') : trans.__('☁ GPU cloud');
  }
  const left = balanceOf(balance);
  const going = runsOf(cloud.data).filter(run => run.goingOn);
  const burn = going.reduce((sum, run) => sum + (run.pricePerHour ?? 0), 0);
  const parts = [
    told.organization?.name,
    left === null
      ? null
      : left < lowest
        ? trans.__('⚠ low: %1 credits', credits(left))
        : trans.__('%1 credits', credits(left)),
    going.length ? trans.__('▶ %1', going.map(run => machineName(run.machine)).join(', ')) : null,
    burn ? trans.__('%1/h', credits(burn)) : null
  ];
  return `☁ ${parts.filter(Boolean).join(' · ')}`;
}
