/** A question before a click spends credits: on which machine, at what price, and the most that it costs. */
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
  /** Whether the user has run it, or trusts its notebook. */
  trusted: boolean;
}

/** What a click does, as the question before it shows it. */
export interface Click {
  verb: string;
  /** The machine of its last run, by the journal of this machine: an output may name a cheap one. */
  machine?: string | null;
  /** Whether the user has clicked on something of ours, not on what a notebook or a page links to. */
  isUiClick: boolean;
  /** Whether the user has just run the cell, or has chosen its machine with the price: a trusted cell needs no question. */
  isChosen?: boolean;
}

/**
 * Ask whether cells may run. A trusted cell needs a question only if it runs on the cloud. Before any other cell, the
 * question shows its source too: an output that looks like ours can be in a notebook of a stranger, with hidden code.
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
      ? trans.__('A link on this page requests this.')
      : trans.__("This notebook isn't trusted. Read the source before you run it."),
    ...(remote.length < sources.length
      ? [trans.__("It runs with your rights in the notebook's kernel, and may start paid machines.")]
      : []),
    ...(remote.length ? await wordsFor(cloud, remote, null) : [])
  ];
  const { askWithSource } = await import('./sourceDialog');
  return askWithSource(trans._n('Run this cell?', 'Run these %1 cells?', cells.length), words, sources, verb);
}

/** Ask whether cells may run on the cloud; yes for those that run here. */
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

/** What cells cost that run on the cloud, by the prices, the default machine and the balance that the cloud has now. */
async function wordsFor(cloud: Cloud, sources: string[], machine: string | null): Promise<string[]> {
  const unheard = (['status', 'machines', 'balance'] as const).filter(topic => !cloud.data[topic]);
  const [table] = await Promise.all([
    request<MachinesContent>('machines').catch(() => null), // without, the question names what else is known
    cloud.refresh(...unheard)
  ]);
  const terms = {
    types: cloud.data.machines?.machine_types ?? [],
    machine: machine ?? table?.default ?? null,
    seconds: table?.default_timeout ?? null
  };
  return spendingWords(sources, terms, readBalance(cloud.data.balance));
}

/** What holds for a cell whose line names no machine or time limit, and the machines with their prices. */
interface Terms {
  types: MachineType[];
  machine: string | null;
  seconds: number | null;
}

/** What cells cost that run on the cloud, in sentences. */
export function spendingWords(sources: string[], terms: Terms, balance: number | null): string[] {
  const bounds = sources.map(source => boundCost(source, terms));
  const named = bounds.flatMap(({ named }) => named);
  const most = sum(bounds.map(bound => bound.most));
  return [
    sources.some(isCalculated)
      ? trans.__('Its line is calculated when it runs: it may name another machine or limit than it seems.')
      : '',
    named.length ? trans.__('It runs on %1.', named.join(', ')) : trans.__('It runs on your default machine.'),
    Number.isFinite(most)
      ? trans.__('It costs at most %1 credits.', credits(most))
      : trans.__('It is billed by the second until it ends.'),
    balance === null
      ? ''
      : balance < (Number.isFinite(most) ? most : sum(bounds.map(({ perHour }) => perHour ?? 0)))
        ? trans.__('⚠ Only %1 credits are left.', credits(balance))
        : trans.__('%1 credits are left.', credits(balance))
  ].filter(Boolean);
}

const sum = (amounts: number[]) => amounts.reduce((all, amount) => all + amount, 0);

/** The machines of a cell in words, their price and the most that it costs: infinite where its line doesn't bound it. */
function boundCost(source: string, { types, machine, seconds: usual }: Terms) {
  const wishes = (readMachine(source) ?? machine ?? '').split(',').filter(Boolean);
  const prices = wishes.map(wish => findPrice(wish, types));
  const named = wishes.map((wish, at) =>
    prices[at] === null
      ? machineName(wish)
      : wish.includes('|')
        ? trans.__('%1 at up to %2/h', machineName(wish), String(prices[at]))
        : trans.__('%1 at %2/h', machineName(wish), String(prices[at]))
  );
  const perHour = prices.includes(null) ? null : sum(prices as number[]);
  const timeout = readOption(source, '--timeout');
  const seconds = timeout === null ? usual : parseDuration(timeout);
  const cap = Number(readOption(source, '--max-cost'));
  const sweeps = readOption(source, '--sweep') !== null;
  const limits = [cap || Infinity, seconds && perHour && !sweeps ? (seconds / 3600) * perHour : Infinity];
  return { named, perHour, most: isCalculated(source) ? Infinity : Math.min(...limits) };
}

/** The seconds of a time limit as the line has it, such as 600, 10m or 1h30m; not a number for anything else. */
function parseDuration(text: string): number {
  const unit: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1 };
  const part = /([0-9]+(?:[.,][0-9]+)?)\s*(days?|d|hours?|h|min|m|sec|s)\s*/gi;
  const parts = [...text.matchAll(part)];
  if (!parts.length || text.replace(part, '').trim()) {
    return Number(text);
  }
  return sum(parts.map(([, amount, name]) => Number(amount.replace(',', '.')) * unit[name[0].toLowerCase()]));
}

/** The price of a machine, of several to choose from the highest; null where one isn't known. */
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
