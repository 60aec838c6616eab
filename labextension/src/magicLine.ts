/** Read and change the `%%lk_run` line of a cell as text. */

import { machineName } from './format';

const MAGIC = /^(\s*)%%lk_run(?![\w])([^\n]*)/;
const OTHER_MAGIC = /^\s*%%\w+/;
const MACHINE = /\s{1,99}--(?:gpu|machine)(?:\s{1,99}|=)("[^"]*"|'[^']*'|\S+)/g;

/** Return whether a cell runs on the cloud. */
export function isRemote(source: string): boolean {
  return MAGIC.test(source);
}

/** Return the machine in the line of a cell, without quotes; null without a machine. */
export function readMachine(source: string): string | null {
  return readOption(source, '--gpu', '--machine');
}

/** Return the last value of an option in the line of a cell, which the kernel uses; null without the option. */
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

/** Return whether only the kernel knows the line: IPython replaces `{code}` and `$name` with values. */
export function isCalculated(source: string): boolean {
  return /[{$]/.test(MAGIC.exec(source)?.[2] ?? '');
}

/** Split a line into words as the kernel does: an option inside quotes doesn't count. */
function splitWords(line: string): string[] {
  const words = line.match(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? [];
  return words.map(word =>
    word.replace(
      /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g,
      (_, sign?: string, text?: string, raw?: string) => sign ?? text ?? raw ?? ''
    )
  );
}

/** Return another magic at the start of a cell, such as `%%bash`; null without a magic. */
export function otherMagic(source: string): string | null {
  return isRemote(source) ? null : (OTHER_MAGIC.exec(source)?.[0].trim() ?? null);
}

/** Return a cell with a line that runs the cell on a machine. An existing line keeps its other options. */
export function onMachine(source: string, machine: string): string {
  if (!isRemote(source)) {
    return `%%lk_run ${wish(machine)}\n${source}`;
  }
  return source.replace(
    MAGIC,
    (_, space: string, options: string) => `${space}%%lk_run ${wish(machine)}${options.replace(MACHINE, '')}`
  );
}

/** Options that a line may repeat. */
const REPEATED = new Set(['-r', '--requirements', '--in', '--inputs', '--out', '--outputs', '--files', '--label']);

/** Options that a hint may add: a machine, a package or a variable, a file below the folder, a number. */
const HINT =
  /^(?:--(?:gpu|machine) [\w.+-]{1,100}|-r [\w.[\]-]{1,100}|--in [\p{L}\p{N}_]{1,100}|--sync|--carry|--fresh|--timeout \d{1,9}|--max-cost \d{1,4}(?:\.\d{1,4})?)$/u;
const FILES = /^--files (?![/~])(?!.*\.\.)(?:[\p{L}\p{N}_./-]{1,200}|"[\p{L}\p{N}_./*-]{1,200}")$/u;

/** Maximum number of hints of one output, and of characters of an error that are read. */
const MOST_HINTS = 10;
const MAX_ERROR = 4000;

/** Return whether a text is an option that a hint may add. */
function isHint(option: unknown): option is string {
  return typeof option === 'string' && (HINT.test(option) || FILES.test(option));
}

/**
 * Return the options that an output advises. The notebook may come from a stranger, so other texts become no button.
 */
export function hintsIn(metadata: unknown): string[] {
  const hints = (metadata as { lk_jupyter_hints?: unknown } | null)?.lk_jupyter_hints;
  return Array.isArray(hints) ? hints.slice(0, MOST_HINTS).filter(isHint) : [];
}

/** An option in the text of an error, with its value. */
const ADVICE = /(?<!\S)(?:(?:--(?:gpu|machine|in|files|timeout)|-r) (?:"[^"\n]*"|[^\s"]+)|--(?:sync|fresh)(?!\S))/g;

/**
 * Return the option that the error of a cell advises, if there is only one; both answers to the question about
 * variables. The last part of an error, after "Nothing was sent.", is the advice.
 */
export function adviceIn({ ename, evalue }: { ename?: unknown; evalue?: unknown }): string[] {
  const [, ...parts] = ename === 'UsageError' ? String(evalue).slice(0, MAX_ERROR).split('Nothing was sent. ') : [];
  const advice = parts.pop() ?? '';
  const words = [...advice.matchAll(ADVICE)].map(([option]) => option.replace(/(?<![?.,;:])[?.,;:]+$/, ''));
  const options = [...new Set(words)];
  if (advice.startsWith('Choose one:')) {
    return options.filter(option => ['--sync', '--fresh'].includes(option));
  }
  return options.length === 1 && !advice.includes('Example:') ? options.filter(isHint) : [];
}

/** Return whether a button may add an option to a cell: none raises the maximum cost that the user chose. */
export function mayAdd(source: string, option: string): boolean {
  const [, limit] = /^--max-cost (.*)/.exec(option) ?? [];
  const current = readOption(source, '--max-cost');
  return isRemote(source) && (!limit || current === null || Number(limit) < Number(current));
}

/** Add an option such as `--timeout 120` to the line of a cell; replace another value of the same option. */
export function withOption(source: string, option: string): string {
  const [name] = option.split(' ', 1);
  const pattern = ['--gpu', '--machine'].includes(name)
    ? MACHINE
    : new RegExp(`\\s+${name}(?:\\s+|=)("[^"]*"|'[^']*'|\\S+)`, 'g');
  return source.replace(MAGIC, (line, space: string, options: string) => {
    if (option === '--sync' || option === '--fresh') {
      const opposite =
        option === '--sync' ? /(?<!\s)\s+--(?:fresh|no-carry|no-sync)(?=\s|$)/g : /(?<!\s)\s+--(?:sync|carry)(?=\s|$)/g;
      options = options.replace(opposite, '');
    }
    if (`${options} `.includes(` ${option} `)) {
      return line;
    }
    const rest = REPEATED.has(name) ? options : options.replace(pattern, '');
    return `${space}%%lk_run${rest.trimEnd()} ${option}`;
  });
}

/** Return the option as people write it: the name of the GPU, or the complete profile for other machines. */
function wish(machine: string): string {
  return /^gpu\.\w+$/.test(machine) ? `--gpu ${machineName(machine)}` : `--machine ${machine}`;
}

/** Return a cell without the magic, so that the cell runs in the kernel of the notebook. */
export function withoutMagic(source: string): string {
  return source.replace(/^\s*%%lk_run(?!\w)[^\n]*\n?/, '');
}
