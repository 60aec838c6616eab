/** The `%%lk_run` line of a cell, read and changed as text. */

import { machineName } from './format';

const MAGIC = /^(\s*)%%lk_run(?![\w])([^\n]*)/;
const OTHER_MAGIC = /^\s*%%\w+/;
const MACHINE = /\s{1,99}--(?:gpu|machine)(?:\s{1,99}|=)("[^"]*"|'[^']*'|\S+)/g;

/** Whether a cell runs on the cloud. */
export function isRemote(source: string): boolean {
  return MAGIC.test(source);
}

/** The machine that the line of a cell names, without its quotes; null without one. */
export function readMachine(source: string): string | null {
  return readOption(source, '--gpu', '--machine');
}

/** The value that the kernel takes of an option on the line of a cell, which is the last; null without one. */
export function readOption(source: string, ...names: string[]): string | null {
  const words = splitWords(MAGIC.exec(source)?.[2] ?? '');
  for (let at = words.length - 1; at >= 0; at--) {
    const [name, ...value] = words[at].split('=');
    if (names.includes(name)) {
      return value.length ? value.join('=') : (words[at + 1] ?? '');
    }
  }
  return null;
}

/** Whether only the kernel knows what the line says: IPython puts values in the place of `{code}` and `$name`. */
export function isCalculated(source: string): boolean {
  return /[{$]/.test(MAGIC.exec(source)?.[2] ?? '');
}

/** The words of a line, split as the kernel does: an option in a quoted text is none. */
function splitWords(line: string): string[] {
  const words = line.match(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? [];
  return words.map(word =>
    word.replace(
      /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g,
      (_, sign?: string, text?: string, raw?: string) => sign ?? text ?? raw ?? ''
    )
  );
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

/** What a hint may add to a line: the name of a machine, a package or a variable, a file below, a number. */
const HINT =
  /^(?:--(?:gpu|machine) [\w.+-]{1,100}|-r [\w.[\]-]{1,100}|--in [\p{L}\p{N}_]{1,100}|--carry|--timeout \d{1,9})$/u;
const FILES = /^--files (?![/~])(?!.*\.\.)(?:[\p{L}\p{N}_./-]{1,200}|"[\p{L}\p{N}_./*-]{1,200}")$/u;

/** Most options that one output may offer. */
const MOST_HINTS = 10;

/** The options that an output advises. Somebody may have sent the notebook: what else it has becomes no button. */
export function hintsIn(metadata: unknown): string[] {
  const hints = (metadata as { lk_jupyter_hints?: unknown } | null)?.lk_jupyter_hints;
  const fits = (option: unknown) => typeof option === 'string' && (HINT.test(option) || FILES.test(option));
  return Array.isArray(hints) ? (hints.slice(0, MOST_HINTS).filter(fits) as string[]) : [];
}

/** A cell whose line has this option too, such as `--timeout 120`; another value of the same option goes. */
export function withOption(source: string, option: string): string {
  const [name] = option.split(' ', 1);
  const pattern = ['--gpu', '--machine'].includes(name)
    ? MACHINE
    : new RegExp(`\\s+${name}(?:\\s+|=)("[^"]*"|'[^']*'|\\S+)`, 'g');
  return source.replace(MAGIC, (line, space: string, options: string) => {
    if (`${options} `.includes(` ${option} `)) {
      return line;
    }
    const rest = REPEATED.has(name) ? options : options.replace(pattern, '');
    return `${space}%%lk_run${rest.trimEnd()} ${option}`;
  });
}

/** The option as one writes it by hand: the name of the card, for other machines the whole profile. */
function wish(machine: string): string {
  return /^gpu\.\w+$/.test(machine) ? `--gpu ${machineName(machine)}` : `--machine ${machine}`;
}

/** A cell that runs in the kernel of its notebook. */
export function withoutMagic(source: string): string {
  return source.replace(/^\s*%%lk_run(?!\w)[^\n]*\n?/, '');
}
