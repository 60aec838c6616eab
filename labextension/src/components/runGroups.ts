/** Runs grouped by notebook and cell, for the list of the panel. */
import { RunRow } from '../cloudTypes';
import { trans } from '../trans';

/** A run of the list; `isFirst` is whether the run is the first of its cell, so that the row has the cell's title. */
export interface RunEntry {
  run: RunRow;
  isFirst: boolean;
}

/** A heading, or a run below the heading. */
export type ListRow = string | RunEntry;

/** Group runs by notebook, then by cell. Groups and their runs keep the order of the runs. */
export function groupRuns(runs: RunRow[]): ListRow[] {
  const notebooks = new Map<string, Map<string, RunRow[]>>();
  for (const run of runs) {
    const cells = notebooks.get(run.notebook ?? '') ?? new Map<string, RunRow[]>();
    notebooks.set(run.notebook ?? '', cells);
    const cell = run.notebook && run.cellId ? run.cellId : run.id;
    cells.set(cell, cells.get(cell) ?? []);
    cells.get(cell)!.push(run);
  }
  const headings = distinctNames([...notebooks.keys()]);
  return [...notebooks].flatMap(([notebook, cells]) => [
    headings.get(notebook)!,
    ...[...cells.values()].flatMap(cell => cell.map((run, at) => ({ run, isFirst: !at })))
  ]);
}

/** Return the heading of each notebook: its file name, after the folders that distinguish it from another of this name. */
function distinctNames(paths: string[]): Map<string, string> {
  const endings = (path: string) => path.split('/').map((_, at, parts) => parts.slice(parts.length - 1 - at).join('/'));
  const counts = new Map<string, number>();
  for (const ending of paths.flatMap(endings)) {
    counts.set(ending, (counts.get(ending) ?? 0) + 1);
  }
  const name = (path: string) => endings(path).find(ending => counts.get(ending) === 1) ?? path;
  return new Map(paths.map(path => [path, name(path) || trans.__('Outside a notebook')]));
}

/** Arguments of a call at the end of a line, from the first bracket on. */
const ARGUMENTS = /^([^(]{1,80}\()[^\n]{9,}\)(:?)$/;

/** Return a line of code that fits a row: a call without its arguments, such as `model.fit(…)`. */
export function shortLine(line: string): string {
  return line.length > 24 ? line.replace(ARGUMENTS, '$1…)$2') : line;
}

/** Return the title of a cell of a run: its number in the open notebook, if known, and its name or first line. */
export function cellTitle({ runName, line, name }: RunRow, count: number | null): string {
  return [count === null ? '' : `[${count}]`, runName || shortLine(line) || name].filter(Boolean).join(' ');
}
