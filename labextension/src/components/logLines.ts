/** The lines of a growing log: added in pieces, searched as they arrive, and drawn as a terminal does. */

import { unturned } from '../format';
import { trans } from '../trans';

/** Start of a message from the run to the notebook. A line with only messages isn't part of the log. */
const FRAME = '\x1b]7411;';
const FRAMES = /\x1b\]7411;[^\x07\x1b]*\x07/g;

// cursor moves, titles and links: all escape sequences except colours
const NO_COLOUR = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[\d;?]*[A-Za-ln-z]|\x1b[^[\]]/g;
const COLOUR = /\x1b\[[\d;]*m/g;

/** Characters to draw of one line: more in one line freeze the page. */
const MOST_DRAWN = 10_000;
/** Matches to mark in one line: a line of one repeated letter has thousands. */
const MOST_MARKED = 200;

export class LogLines {
  /** All lines. The last line may be incomplete. */
  readonly lines: string[] = [''];

  /** Add a piece of the log. The next piece may continue the last line. */
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

/**
 * Search for lines that contain a text, ignoring case. Each line is searched once, the last line only when complete.
 */
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

  /** Return the numbers of matching lines so far, ascending. */
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

/** A part of a line and its colour: 1 to 6 as in terminals, 0 for none. `isMatch` marks a match of the search. */
export interface Piece {
  text: string;
  colour: number;
  bold: boolean;
  isMatch?: true;
}

/** Split a line, as a terminal shows the line, into parts by colour and match. */
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

/** Return the last state of a line, for progress bars that rewrite their line. */
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

/** Split parts where matches start and end. A match may span several parts. */
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
