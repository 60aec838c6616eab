/** The lines of a log that grows: taken in pieces, found by text; a bar that rewrites its line keeps its last state. */
import { matching } from './components/search';

// Moves of the cursor, titles and links: all that is no colour.
const NO_COLOUR = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[\d;?]*[A-Za-ln-z]|\x1b[^[\]]/g;
const ANY_ESCAPE = /\x1b\[[\d;]*m/g;

export class LogLines {
  readonly lines: string[] = [''];

  /** Take the next piece; the last line may go on with the piece after it. */
  add(text: string): void {
    const pieces = text.split('\n');
    this.lines[this.lines.length - 1] += pieces[0];
    for (let at = 1; at < pieces.length; at++) {
      this.lines.push(pieces[at]);
    }
  }

  get count(): number {
    return this.lines[this.lines.length - 1] === '' ? this.lines.length - 1 : this.lines.length;
  }

  /** Numbers of the lines that hold a text, at most `most` of them. */
  find(text: string, most = 100_000): number[] {
    return matching(this.lines, text, most) ?? [];
  }
}

/** A piece of a line with its colour: 1 to 6 as terminals number them, 0 for none. */
export interface Piece {
  text: string;
  colour: number;
  bold: boolean;
}

/** What a terminal would show of a line. */
export function pieces(line: string): Piece[] {
  const shown = line.replace(/\r+$/, '').split('\r').pop()!.replace(NO_COLOUR, '');
  const found: Piece[] = [];
  let [at, colour, bold] = [0, 0, false];
  for (const mark of [...shown.matchAll(ANY_ESCAPE), null]) {
    const text = shown.slice(at, mark?.index);
    if (text) {
      found.push({ text, colour, bold });
    }
    if (mark) {
      at = mark.index + mark[0].length;
      for (const code of mark[0].slice(2, -1).split(';').map(Number)) {
        colour =
          code === 0 || code === 39
            ? 0
            : code > 30 && code < 37
              ? code - 30
              : code > 90 && code < 97
                ? code - 90
                : colour;
        bold = code === 1 || (bold && code !== 0 && code !== 22);
      }
    }
  }
  return found;
}
