/** Words in lines, whatever their case. */

/** The numbers of the lines that have it, at most `most` of them; null where nothing is searched for. */
export function matching(lines: string[], query: string, most = Infinity): number[] | null {
  if (!query) {
    return null;
  }
  const word = query.toLowerCase();
  const found: number[] = [];
  for (let at = 0; at < lines.length && found.length < most; at++) {
    if (lines[at].toLowerCase().includes(word)) {
      found.push(at);
    }
  }
  return found;
}

/** A line cut so that every second piece is what was searched for. */
export function marked(line: string, query: string): string[] {
  if (!query) {
    return [line];
  }
  const escaped = query.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return line.split(new RegExp(`(${escaped})`, 'i'));
}
