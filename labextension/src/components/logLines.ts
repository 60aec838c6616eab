/** The lines of a log that grows: taken in pieces, searched as they come, and drawn as a terminal would. */

import { unturned } from '../format';
import { trans } from '../trans';

/** What a run tells the notebook beside its text; a line that holds nothing else is none of the log. */
const FRAME = '\x1b]7411;';
const FRAMES = /\x1b\]7411;[^\x07\x1b]*\x07/g;

// Moves of the cursor, titles and links: all that is no colour.
const NO_COLOUR = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[\d;?]*[A-Za-ln-z]|\x1b[^[\]]/g;
const COLOUR = /\x1b\[[\d;]*m/g;

/** Characters of a line that are drawn: a page with more of them in one line stands still. */
const MOST_DRAWN = 10_000;
/** Hits of a line that are marked: a line of one letter has thousands. */
const MOST_MARKED = 200;

export class LogLines {
  /** All of them; the last is the one that is being written. */
  readonly lines: string[] = [''];

  /** Take the next piece; the last line may go on with the piece after it. */
  add(text: string): void {
    const pieces = text.split('\n');
    const firstLine = this.lines.pop()! + pieces[0];
    const framed = text.includes(FRAME) || firstLine.startsWith(FRAME);
    pieces[0] = firstLine;
    const rest = pieces.pop()!;
    for (const line of pieces) {
      if (!framed || !line.startsWith(FRAME) || line.replace(FRAMES, '').trim()) {
        this.lines.push(line);
      }
    }
    this.lines.push(rest);
  }

  get count(): number {
    return this.lines[this.lines.length - 1] === '' ? this.lines.length - 1 : this.lines.length;
  }
}

/** The lines that have a text, whatever its case. Each is looked at once; the last when it is whole. */
export class Search {
  private readonly hitNumbers: number[] = [];
  private readonly word: string;
  private next = 0;

  constructor(
    private readonly lines: string[],
    query: string
  ) {
    this.word = query.toLowerCase();
  }

  /** Numbers of the lines by now, ascending. */
  hits(): number[] {
    for (const end = this.lines.length - 1; this.next < end; this.next++) {
      if (this.has(this.next)) {
        this.hitNumbers.push(this.next);
      }
    }
    return this.has(this.next) ? [...this.hitNumbers, this.next] : this.hitNumbers;
  }

  private has(at: number): boolean {
    const line = this.lines[at];
    return (line.includes('\x1b') ? plain(line) : line).toLowerCase().includes(this.word);
  }
}

/** A piece of a line with its colour, 1 to 6 as terminals number them, 0 for none; `found` where it was searched for. */
export interface Piece {
  text: string;
  colour: number;
  bold: boolean;
  isMatch?: true;
}

/** What a terminal would show of a line, with what is searched for cut out. */
export function pieces(line: string, query = ''): Piece[] {
  const text = drawn(line);
  const cut = text.length > MOST_DRAWN ? text.slice(0, MOST_DRAWN) : text;
  const parts = coloured(cut);
  if (cut !== text) {
    const hiddenCount = text.length - cut.length;
    const words = trans._n(
      '… one more character',
      '… %2 more characters',
      hiddenCount,
      hiddenCount.toLocaleString('en')
    );
    parts.push({ text: ` ${words}`, colour: 0, bold: true });
  }
  return query ? marked(parts, query) : parts;
}

/** A bar that rewrites its line keeps its last state. */
function drawn(line: string): string {
  return unturned((line.split('\r').filter(Boolean).pop() ?? '').replace(NO_COLOUR, ''));
}

function plain(line: string): string {
  return drawn(line).replace(COLOUR, '');
}

function coloured(line: string): Piece[] {
  const parts: Piece[] = [];
  let [at, colour, bold] = [0, 0, false];
  for (const mark of [...line.matchAll(COLOUR), null]) {
    const text = line.slice(at, mark?.index);
    if (text) {
      parts.push({ text, colour, bold });
    }
    if (mark) {
      at = mark.index + mark[0].length;
      for (const code of mark[0].slice(2, -1).split(';').map(Number)) {
        colour = colourAfter(code, colour);
        bold = code === 1 || (bold && code !== 0 && code !== 22);
      }
    }
  }
  return parts;
}

function colourAfter(code: number, colour: number): number {
  if (code === 0 || code === 39) {
    return 0;
  }
  const [tens, ones] = [Math.floor(code / 10), code % 10];
  return (tens === 3 || tens === 9) && ones > 0 && ones < 7 ? ones : colour;
}

/** Cut pieces where hits begin and end; a hit may go over several. */
function marked(line: Piece[], query: string): Piece[] {
  const pattern = new RegExp(query.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'gi');
  const hits = [
    ...line
      .map(piece => piece.text)
      .join('')
      .matchAll(pattern)
  ].slice(0, MOST_MARKED);
  let from = 0;
  return line.flatMap(piece => {
    const start = from;
    from += piece.text.length;
    const edges = hits.flatMap(hit => [hit.index - start, hit.index + hit[0].length - start]);
    const inside = edges.filter(edge => edge > 0 && edge < piece.text.length);
    const isHit = (at: number) => hits.some(hit => hit.index <= start + at && start + at < hit.index + hit[0].length);
    return [0, ...inside].map((at, number) => {
      const text = piece.text.slice(at, inside[number]);
      return isHit(at) ? { ...piece, text, isMatch: true as const } : { ...piece, text };
    });
  });
}
