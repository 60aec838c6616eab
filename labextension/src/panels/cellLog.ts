/**
 * The log and the outputs of a run below its header, continued by the page where no kernel writes them any more: after
 * a reload or a restart of the kernel, in a second tab, and the next day.
 */
import type { CodeCell } from '@jupyterlab/cells';
import { PartialJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { hiddenLines, savedRun, SavedRun, textIn } from '../header';
import { RUN_MIME } from '../runs';
import { follow, PASSING, Position, REST } from '../stream';
import { trans } from '../trans';
import { Shown } from '../types';
import { Trouble } from '../request';

export type CellOutputs = CodeCell['model']['outputs'];
type CellOutput = Parameters<CellOutputs['add']>[0];

/** What a cell shows of a run, and the unfinished last line. */
export interface CellLines extends Position {
  unfinished: string;
}

/** Key in the metadata of an output: the number of the output among the outputs of its run. */
const NUMBER_KEY = 'lk_jupyter_output';

/** Outputs of a run in the background that a cell shows: the newest. */
const MOST_BACKGROUND_OUTPUTS = 8;

/** Key in the metadata of an output of a run in the background: the newest lines, or the newest outputs. */
const BACKGROUND_KEY = 'lk_jupyter_background';

/** Return the number of an output: negative for progress bars, 0 for an output that the page doesn't continue. */
const readNumber = ({ metadata }: { metadata: ReadonlyPartialJSONObject }) => Number(metadata[NUMBER_KEY]) || 0;

const isFull = (line: string) => /[^ \t\r]/.test(line);

/** Return the place of a run's header in the outputs of a cell; -1 without a header. */
export function findHeader(outputs: CellOutputs, id: string): number {
  for (let at = outputs.length - 1; at >= 0; at--) {
    if (savedRun(outputs.get(at).data[RUN_MIME])?.id === id) {
      return at;
    }
  }
  return -1;
}

/** Return the outputs below a header, up to the header of another run. */
function outputsBelow(outputs: CellOutputs, header: number) {
  const all = Array.from({ length: outputs.length }, (_, at) => outputs.get(at));
  const next = all.findIndex(({ data }, at) => at > header && savedRun(data[RUN_MIME]));
  return all.slice(header + 1, next < 0 ? undefined : next);
}

/** Return the log lines and outputs below a header. Lines that the notebook leaves out count too. */
export function readCellLines(outputs: CellOutputs, header: number): CellLines {
  let [text, hidden, output] = ['', 0, 0];
  for (const below of outputsBelow(outputs, header)) {
    const { text: piece } = below.toJSON() as { text?: unknown };
    text += below.type === 'stream' ? textIn(piece) : '';
    hidden += hiddenLines(below.data[RUN_MIME])?.count ?? 0;
    output = Math.max(output, readNumber(below));
  }
  const lines = text.split('\n');
  const unfinished = lines.pop()!;
  return { lines: lines.filter(isFull).length + hidden, output, unfinished };
}

export class CellLog {
  /** Whether lines may still arrive. */
  isReading = true;
  /** The reason why the log can't be continued. */
  trouble: Trouble | null = null;
  /** Whether the run showed an output that this page can't show, such as an error that didn't end the code. */
  lacksFigures = false;

  /** Lines after the limit, and the newest of them, which appear at the end. */
  private hiddenCount = 0;
  private tail: string[] = [];
  /** Lines that the notebook left out before this connection; null until that number is needed. */
  private hiddenBefore: number | null = null;
  private readonly id: string;
  private readonly abortController = new AbortController();

  constructor(
    private readonly outputs: CellOutputs,
    private readonly saved: SavedRun,
    /** Return whether the server lists the run as active. */
    private readonly isActive: () => boolean
  ) {
    this.id = saved.id!;
    void this.read();
  }

  dispose(): void {
    this.isReading = false;
    this.abortController.abort();
  }

  private async read(): Promise<void> {
    const listener = { onOutput: (text: string) => this.add(text), onDisplay: (display: Shown) => this.apply(display) };
    while (this.isReading) {
      const after = this.readPosition();
      if (!this.isReading) {
        return;
      }
      try {
        const { return_code: code, error } = await follow(this.id, this.abortController.signal, listener, after);
        if (code !== null || error !== null || !this.isActive()) {
          this.end();
          return;
        }
      } catch (failure) {
        if (!(failure instanceof Trouble) || !PASSING.has(failure.state)) {
          this.trouble = failure instanceof Trouble ? failure : null;
          this.isReading = false;
          return;
        }
      }
      await new Promise(done => setTimeout(done, REST));
    }
  }

  /** Return the lines and outputs that the stream must skip. */
  private readPosition(): Position {
    [this.hiddenCount, this.hiddenBefore, this.tail] = [0, null, []];
    const header = this.requireHeader();
    if (header < 0) {
      return { lines: 0, output: 0 };
    }
    const { lines, output } = readCellLines(this.outputs, header);
    return { lines: this.saved.logTail ? 0 : lines, output };
  }

  private add(text: string): void {
    const header = this.requireHeader();
    if (header < 0) {
      return;
    }
    const lines = text.split('\n').slice(0, -1);
    if (this.saved.logTail) {
      this.tail = [...this.tail, ...lines].slice(-this.saved.logTail);
      this.setMarked(header, 'log', this.tail.join('\n'));
      return;
    }
    const { lines: count, unfinished } = readCellLines(this.outputs, header);
    const room = Math.max(0, this.saved.logLines - count);
    const [first, rest] = [lines.slice(0, room), lines.slice(room)];
    if (first.length) {
      this.write(continued(unfinished, first.map(line => `${line}\n`).join('')));
    }
    if (rest.length) {
      this.hiddenCount += rest.filter(isFull).length;
      this.tail = [...this.tail, ...rest].slice(-this.saved.logLines);
      this.showHidden(header, this.hiddenCount);
    }
  }

  private apply({ kind, number, data, metadata }: Shown): void {
    const header = this.requireHeader();
    if (header < 0) {
      return;
    }
    if (kind === 'clear') {
      [this.hiddenCount, this.tail, this.lacksFigures] = [0, [], false];
      const below = outputsBelow(this.outputs, header);
      const remains = (at: number) => at <= header || (this.saved.logTail && readNumber(below[at - header - 1]) <= 0);
      this.outputs.fromJSON(this.outputs.toJSON().filter((_, at) => remains(at)));
    } else if (number && data) {
      const place = this.saved.logTail ? Math.max(number, -1) : number; // in the background, one output has all bars
      const output = { data: data as PartialJSONObject, metadata: { ...metadata, [NUMBER_KEY]: place } };
      this.show(header, place, { output_type: 'display_data', ...output }, kind === 'display');
    } else {
      this.lacksFigures = true;
    }
  }

  /** Show an output once, by its number. */
  private show(header: number, number: number, output: CellOutput, isNew: boolean): void {
    const place = outputsBelow(this.outputs, header).findIndex(below => readNumber(below) === number);
    if (place >= 0) {
      this.outputs.set(header + 1 + place, output);
    } else if (isNew) {
      if (number > 0) {
        this.emptyGallery(header);
      }
      this.outputs.add(output);
    }
  }

  /** Remove the outputs of a run in the background that the kernel showed, and the oldest outputs of this page. */
  private emptyGallery(header: number): void {
    if (!this.saved.logTail) {
      return;
    }
    this.setMarked(header, 'outputs', '');
    const below = outputsBelow(this.outputs, header);
    const numbers = below.map(readNumber).filter(number => number > 0);
    if (numbers.length >= MOST_BACKGROUND_OUTPUTS) {
      const oldest = header + 1 + below.findIndex(output => readNumber(output) === numbers[0]);
      this.outputs.fromJSON(this.outputs.toJSON().filter((_, at) => at !== oldest));
    }
  }

  /** Replace an output of a run in the background by a text. */
  private setMarked(header: number, mark: string, text: string): void {
    const below = outputsBelow(this.outputs, header);
    const place = below.findIndex(({ metadata }) => metadata[BACKGROUND_KEY] === mark);
    if (place >= 0 && textIn(below[place].data['text/plain']) !== text) {
      const metadata = { [BACKGROUND_KEY]: mark };
      this.outputs.set(header + 1 + place, { output_type: 'display_data', data: { 'text/plain': text }, metadata });
    }
  }

  /** Show the last lines, as the kernel does at the end of a run. */
  private end(): void {
    this.isReading = false;
    const header = this.requireHeader();
    if (header >= 0 && this.hiddenCount && !this.saved.logTail) {
      this.showHidden(header, this.hiddenCount - this.tail.filter(isFull).length);
      this.write(this.tail.map(line => `${line}\n`).join(''));
    }
  }

  /** Return the place of the header; -1, and stop reading, if the cell no longer shows the run. */
  private requireHeader(): number {
    const header = this.outputs.isDisposed ? -1 : findHeader(this.outputs, this.id);
    if (header < 0) {
      this.dispose();
    }
    return header;
  }

  private write(text: string): void {
    this.outputs.add({ output_type: 'stream', name: 'stdout', text });
  }

  /** Show the number of lines that the notebook leaves out, in place of the kernel's note. */
  private showHidden(header: number, added: number): void {
    const place = outputsBelow(this.outputs, header).findIndex(
      ({ data }) => hiddenLines(data[RUN_MIME]) || /^… [\d,]+ more lines/.test(textIn(data['text/plain']))
    );
    const old = place < 0 ? 0 : (hiddenLines(this.outputs.get(header + 1 + place).data[RUN_MIME])?.count ?? 0);
    this.hiddenBefore ??= old;
    const count = this.hiddenBefore + added;
    const words = trans._n('%1 line hidden', '%1 lines hidden', count);
    const data: PartialJSONObject = count
      ? { [RUN_MIME]: { execution_id: this.id, hidden_lines: count }, 'text/plain': `▸ ${words}` }
      : { 'text/plain': '' };
    const output = { output_type: 'display_data', data, metadata: {} };
    if (place < 0) {
      this.outputs.add(output);
    } else {
      this.outputs.set(header + 1 + place, output);
    }
  }
}

/** Return the text that continues an unfinished line. The first line of the text is the complete line. */
export function continued(unfinished: string, text: string): string {
  if (text.startsWith(unfinished)) {
    return text.slice(unfinished.length);
  }
  const end = text.indexOf('\n');
  return `\r${text.slice(0, end).padEnd(unfinished.length)}${text.slice(end)}`;
}
