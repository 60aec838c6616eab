/** The `%%lk_run` line of a cell, read and changed as text. */

import { machineName } from './format';

const MAGIC = /^(\s*)%%lk_run(?![\w])([^\n]*)/;
const OTHER_MAGIC = /^\s*%%\w+/;
const MACHINE = /\s+--(?:gpu|machine)(?:\s+|=)("[^"]*"|'[^']*'|\S+)/g;

/** Whether a cell runs on the cloud. */
export function isRemote(source: string): boolean {
  return MAGIC.test(source);
}

/** The machine that the line of a cell names, as it is written there; null without one. */
export function machineOf(source: string): string | null {
  const line = MAGIC.exec(source)?.[2] ?? '';
  const found = [...line.matchAll(MACHINE)].pop();
  return found ? found[1].replace(/^["']|["']$/g, '') : null;
}

/** The value of an option on the line of a cell that runs on the cloud, such as `--timeout`; null without one. */
export function optionOf(source: string, option: string): string | null {
  const line = MAGIC.exec(source)?.[2] ?? '';
  return new RegExp(`\\s${option}(?:\\s+|=)["']?([^\\s"']+)`).exec(line)?.[1] ?? null;
}

/** The other magic that a cell begins with, such as `%%bash`; null without one. */
export function otherMagic(source: string): string | null {
  return isRemote(source) ? null : (OTHER_MAGIC.exec(source)?.[0].trim() ?? null);
}

/** A cell that runs on this machine: its line is added, or its wish for a machine changed and nothing else. */
export function onMachine(source: string, machine: string): string {
  if (!isRemote(source)) {
    return `%%lk_run ${wish(machine)}\n${source}`;
  }
  return source.replace(
    MAGIC,
    (_, space: string, options: string) => `${space}%%lk_run ${wish(machine)}${options.replace(MACHINE, '')}`
  );
}

/** Options that may stand in a line several times. */
const REPEATED = new Set(['-r', '--requirements', '--in', '--inputs', '--out', '--outputs', '--files', '--label']);

/** A cell whose line has this option too, such as `--timeout 120`; another value of the same option goes. */
export function withOption(source: string, option: string): string {
  const [name] = option.split(' ', 1);
  const others = ['--gpu', '--machine'].includes(name)
    ? MACHINE
    : new RegExp(`\\s+${name}(?:\\s+|=)("[^"]*"|'[^']*'|\\S+)`, 'g');
  return source.replace(MAGIC, (line, space: string, options: string) => {
    if (`${options} `.includes(` ${option} `)) {
      return line;
    }
    const kept = REPEATED.has(name) ? options : options.replace(others, '');
    return `${space}%%lk_run${kept.trimEnd()} ${option}`;
  });
}

/** The option as one writes it by hand: the name of the card, for other machines the whole profile. */
function wish(machine: string): string {
  return /^gpu\.\w+$/.test(machine) ? `--gpu ${machineName(machine)}` : `--machine ${machine}`;
}

/** A cell that runs in the kernel of its notebook. */
export function here(source: string): string {
  return source.replace(/^\s*%%lk_run(?!\w)[^\n]*\n?/, '');
}
