/** A question before a click spends credits: on which machine, at what price, and the most that it costs. */
import { Dialog, showDialog } from '@jupyterlab/apputils';

import { balanceOf } from './balance';
import { Cloud } from './cloud';
import { isRemote, machineOf, optionOf } from './magicLine';
import { request } from './request';
import { trans } from './trans';
import { MachinesContent, MachineType } from './types';
import { credits, machineName } from './format';

/** Ask whether a cell may run on the cloud; yes for one that runs here. `machine` is that of its last run. */
export async function maySpend(cloud: Cloud, source: string, machine: string | null, verb: string): Promise<boolean> {
  if (!isRemote(source)) {
    return true;
  }
  const unheard = (['status', 'machines', 'balance'] as const).filter(topic => !cloud.data[topic]);
  const [table] = await Promise.all([
    request<MachinesContent>('machines').catch(() => null), // without, the question names what else is known
    cloud.refresh(...unheard)
  ]);
  const known = {
    types: cloud.data.machines?.machine_types ?? [],
    machine: machine ?? table?.default ?? null,
    seconds: table?.default_timeout ?? null
  };
  const words = spendingWords(source, known, balanceOf(cloud.data.balance));
  const { button } = await showDialog({
    title: trans.__('%1 on the cloud?', verb),
    body: words.join(' '),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: verb })]
  });
  return button.accept;
}

/** What holds for a cell whose line names no machine or time limit, and the machines with their prices. */
interface Known {
  types: MachineType[];
  machine: string | null;
  seconds: number | null;
}

/** What a cell costs that runs on the cloud, in sentences. */
export function spendingWords(
  source: string,
  { types, machine, seconds: usual }: Known,
  left: number | null
): string[] {
  const wishes = (machineOf(source) ?? machine ?? '').split(',').filter(Boolean);
  const prices = wishes.map(wish => priceOf(wish.split('|')[0].trim(), types));
  const named = wishes.map((wish, at) =>
    prices[at] === null ? machineName(wish) : trans.__('%1 at %2/h', machineName(wish), String(prices[at]))
  );
  const perHour = prices.reduce<number | null>(
    (sum, price) => (sum === null || price === null ? null : sum + price),
    0
  );
  const seconds = Number(optionOf(source, '--timeout')) || usual;
  const cap = Number(optionOf(source, '--max-cost'));
  const sweeps = optionOf(source, '--sweep') !== null;
  const limits = [cap || Infinity, seconds && perHour && !sweeps ? (seconds / 3600) * perHour : Infinity];
  const most = Math.min(...limits);
  return [
    named.length ? trans.__('It runs on %1.', named.join(', ')) : trans.__('It runs on your default machine.'),
    Number.isFinite(most)
      ? trans.__('It costs at most %1 credits.', credits(most))
      : trans.__('It is billed by the second until it ends.'),
    left === null
      ? ''
      : left < (Number.isFinite(most) ? most : (perHour ?? 0))
        ? trans.__('⚠ Only %1 credits are left.', credits(left))
        : trans.__('%1 credits are left.', credits(left))
  ].filter(Boolean);
}

function priceOf(wish: string, types: MachineType[]): number | null {
  const name = wish.toLowerCase().replace(/^gpu\./, '');
  const found = types.find(type => [name, `gpu.${name}`].includes(type.hardware_profile.toLowerCase()));
  return found?.price_per_hour ?? null;
}
