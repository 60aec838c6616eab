/** A question before a click spends credits, with the machine, its price and the maximum cost. */
import { Dialog, showDialog } from '@jupyterlab/apputils';

import { readBalance } from './balance';
import { Cloud } from './cloud';
import { isCalculated, isRemote, readMachine, readOption } from './magicLine';
import { request } from './request';
import { trans } from './trans';
import { MachinesContent, MachineType } from './types';
import { credits, machineName } from './format';

/** A cell that a click runs. */
export interface CellToRun {
  source: string;
  /** Whether the user ran the cell or trusts its notebook. */
  trusted: boolean;
}

/** The effect of a click, as the question shows the click. */
export interface Click {
  verb: string;
  /** Machine of the last run from the journal of this machine: an output may contain a cheaper machine. */
  machine?: string | null;
  /** Whether the user clicked on our own button, not on a link in a notebook or page. */
  isUiClick: boolean;
  /** Whether the user just ran the cell, or chose its machine with the price: a trusted cell then needs no question. */
  isChosen?: boolean;
}

/**
 * Prompt before cells run. A trusted cell needs a prompt only if the cell runs on the cloud. For all other cells, the
 * prompt shows the source too: an output that looks like ours can be in a stranger's notebook, with hidden code.
 */
export async function mayRun(cloud: Cloud, cells: CellToRun[], { verb, machine = null, isUiClick, isChosen }: Click) {
  const sources = cells.map(({ source }) => source);
  const isTrusted = cells.every(({ trusted }) => trusted);
  if (isTrusted && isUiClick) {
    return isChosen || maySpend(cloud, sources, machine, verb);
  }
  const remote = sources.filter(isRemote);
  const words = [
    isTrusted
      ? trans.__('A link on this page requests this action.')
      : trans.__("This notebook isn't trusted. Read the source before you run it."),
    ...(remote.length < sources.length
      ? [trans.__("The code runs with your rights in the notebook's kernel, and may start paid machines.")]
      : []),
    ...(remote.length ? await wordsFor(cloud, remote, null) : [])
  ];
  const { askWithSource } = await import('./sourceDialog');
  return askWithSource(trans._n('Run this cell?', 'Run these %1 cells?', cells.length), words, sources, verb);
}

/** Prompt before cells run on the cloud; return true for local cells. */
async function maySpend(cloud: Cloud, cells: string[], machine: string | null, verb: string): Promise<boolean> {
  const sources = cells.filter(isRemote);
  if (!sources.length) {
    return true;
  }
  const { button } = await showDialog({
    title: trans.__('%1 on the cloud?', verb),
    body: (await wordsFor(cloud, sources, machine)).join(' '),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: verb })]
  });
  return button.accept;
}

/** Return the cost of cells that run on the cloud, from current prices, the default machine and the balance. */
async function wordsFor(cloud: Cloud, sources: string[], machine: string | null): Promise<string[]> {
  const unheard = (['status', 'machines', 'balance'] as const).filter(topic => !cloud.data[topic]);
  const [table] = await Promise.all([
    request<MachinesContent>('machines').catch(() => null), // without the table, the question uses the other facts
    cloud.refresh(...unheard)
  ]);
  const terms = {
    types: cloud.data.machines?.machine_types ?? [],
    machine: machine ?? table?.default ?? null,
    seconds: table?.default_timeout ?? null
  };
  return spendingWords(sources, terms, readBalance(cloud.data.balance));
}

/** Defaults for a cell without a machine or time limit, and the machines with their prices. */
interface Terms {
  types: MachineType[];
  machine: string | null;
  seconds: number | null;
}

/** Return the cost of cells that run on the cloud, in sentences. */
export function spendingWords(sources: string[], terms: Terms, balance: number | null): string[] {
  const bounds = sources.map(source => boundCost(source, terms));
  const named = bounds.flatMap(({ named }) => named);
  const most = sum(bounds.map(bound => bound.most));
  return [
    sources.some(isCalculated)
      ? trans.__('The %%lk_run line contains variables, so machine and time limit are known only when the cell runs.')
      : '',
    named.length
      ? trans.__('The code runs on %1.', named.join(', '))
      : trans.__('The code runs on your default machine.'),
    Number.isFinite(most)
      ? trans.__('The cost is at most %1 credits.', credits(most))
      : trans.__('The run is billed by the second until it ends.'),
    balance === null
      ? ''
      : balance < (Number.isFinite(most) ? most : sum(bounds.map(({ perHour }) => perHour ?? 0)))
        ? trans.__('⚠ Only %1 credits are left.', credits(balance))
        : trans.__('%1 credits are left.', credits(balance))
  ].filter(Boolean);
}

const sum = (amounts: number[]) => amounts.reduce((all, amount) => all + amount, 0);

/** Seconds for which a run may be billed after its time limit, until its process has ended. */
const STOP_SECONDS = 1;

/** Return the machines of a cell in words, their price and the maximum cost: infinite if the line sets no bound. */
function boundCost(source: string, { types, machine, seconds: usual }: Terms) {
  const wishes = (readMachine(source) ?? machine ?? '').split(',').filter(Boolean);
  const prices = wishes.map(wish => findPrice(wish, types));
  const named = wishes.map((wish, at) =>
    prices[at] === null
      ? machineName(wish)
      : wish.includes('|')
        ? trans.__('%1 at up to %2 credits/h', machineName(wish), String(prices[at]))
        : trans.__('%1 at %2 credits/h', machineName(wish), String(prices[at]))
  );
  const perHour = prices.includes(null) ? null : sum(prices as number[]);
  const timeout = readOption(source, '--timeout');
  const seconds = timeout === null ? usual : parseDuration(timeout);
  const cap = Number(readOption(source, '--max-cost'));
  const sweeps = readOption(source, '--sweep') !== null;
  const limits = [
    cap || Infinity,
    seconds && perHour && !sweeps ? ((seconds + STOP_SECONDS) / 3600) * perHour : Infinity
  ];
  return { named, perHour, most: isCalculated(source) ? Infinity : Math.min(...limits) };
}

/** Parse a time limit such as 600, 10m or 1h30m into seconds; NaN for other text. */
function parseDuration(text: string): number {
  const unit: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1 };
  const part = /(?<![0-9])([0-9]+(?:[.,][0-9]+)?)\s*(days?|d|hours?|h|min|m|sec|s)\s*/gi;
  const parts = [...text.matchAll(part)];
  if (!parts.length || text.replace(part, '').trim()) {
    return Number(text);
  }
  return sum(parts.map(([, amount, name]) => Number(amount.replace(',', '.')) * unit[name[0].toLowerCase()]));
}

/** Return the price of a machine, or the highest price of several alternatives; null if a price is unknown. */
function findPrice(wish: string, types: MachineType[]): number | null {
  const prices = wish.split('|').map(one => {
    const name = one
      .trim()
      .toLowerCase()
      .replace(/^gpu\./, '');
    return types.find(type => [name, `gpu.${name}`].includes(type.hardware_profile.toLowerCase()))?.price_per_hour;
  });
  return prices.every(price => price != null) ? Math.max(...prices) : null;
}
