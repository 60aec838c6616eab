/** The open folders of the bucket as the rows of a tree, and how keys move through them. */

import { trans } from '../trans';

/** A file, or a folder: its key ends with a slash. */
export interface Item {
  key: string;
  size: string;
  written: string;
  /** What its size and time are put in order by. */
  bytes?: number;
  at?: number;
}

export interface Order {
  by: 'name' | 'size' | 'written';
  down: boolean;
}

/** As the bucket lists its keys. */
export const BY_NAME: Order = { by: 'name', down: false };

/** What is known of an open folder. `token` leads to the items after these, `begins` leaves out other names. */
export interface Listing {
  items: Item[];
  token: string;
  begins: string;
  is_read: boolean;
}

export type Folders = Record<string, Listing>;

/** One row: a folder or a file; or what stands among them: more items, all items again, words. */
export interface Row {
  id: string;
  kind: 'folder' | 'file' | 'more' | 'all' | 'words';
  /** The folder that it is in. */
  folder: string;
  name: string;
  level: number;
  isOpen?: boolean;
  item?: Item;
}

/** The rows of the tree; there is always one. */
export function buildTree(folders: Folders, root: string, words: string, order = BY_NAME): Row[] {
  const rows = folderRows(folders, root, words, order);
  const none = trans.__('No loaded name matches');
  return rows.length ? rows : [{ id: '\nnone', kind: 'words', folder: root, name: none, level: 1 }];
}

/** How many names have the words, said so that it is clear where was looked. */
export function countWords(folders: Folders, rows: Row[], words: string): string {
  const count = rows.filter(row => row.item && has(row.name, words)).length;
  const all = Object.values(folders).reduce((sum, listing) => sum + listing.items.length, 0);
  return trans._n(
    '%2 of %3 names that are loaded have “%4”',
    '%2 of %3 names that are loaded have “%4”',
    all,
    count.toLocaleString(),
    all.toLocaleString(),
    words
  );
}

/** The rows of a folder and of the open ones below it; with `words` those whose names have them. */
function folderRows(folders: Folders, folder: string, words: string, order: Order, level = 1): Row[] {
  const listing = folders[folder];
  const other = (kind: Row['kind'], name: string): Row => ({ id: `${folder}\n${kind}`, kind, folder, name, level });
  if (!listing.is_read) {
    return [other('words', trans.__('Reading …'))];
  }
  const rows = sorted(listing.items, order).flatMap(item => itemRows(folders, folder, item, words, order, level));
  if (listing.begins) {
    rows.unshift(other('all', trans.__('Only names starting with “%1”: show all', listing.begins)));
  }
  if (listing.token) {
    const count = listing.items.length;
    rows.push(other('more', trans._n('%2 shown: show more', '%2 shown: show more', count, count.toLocaleString())));
  } else if (!listing.items.length) {
    rows.push(other('words', listing.begins ? trans.__('None') : trans.__('Empty: drop files here')));
  }
  return rows;
}

function itemRows(folders: Folders, folder: string, item: Item, words: string, order: Order, level: number): Row[] {
  const isFolder = item.key.endsWith('/');
  const isOpen = isFolder && Object.hasOwn(folders, item.key);
  const name = item.key.slice(folder.length);
  const row: Row = { id: item.key, kind: isFolder ? 'folder' : 'file', folder, name, level, item };
  const below = isOpen ? folderRows(folders, item.key, words, order, level + 1) : [];
  const fits = has(name, words) || below.some(each => each.item);
  return fits ? [isFolder ? { ...row, isOpen } : row, ...below] : [];
}

/** The order after a click on a column: the largest and newest first, then the other way round. */
export function turned({ by, down }: Order, to: Order['by']): Order {
  return { by: to, down: by === to ? !down : to !== 'name' };
}

/** Items in order, folders first; those of one size or time stay as they are. */
function sorted(items: Item[], { by, down }: Order): Item[] {
  if (by === 'name' && !down) {
    return items;
  }
  const isFile = ({ key }: Item) => Number(!key.endsWith('/'));
  const sign = down ? -1 : 1;
  const differ = (a: Item, b: Item) =>
    by === 'name'
      ? a.key.localeCompare(b.key)
      : by === 'size'
        ? (a.bytes ?? 0) - (b.bytes ?? 0)
        : (a.at ?? 0) - (b.at ?? 0);
  return [...items].sort((a, b) => isFile(a) - isFile(b) || sign * differ(a, b));
}

/** The folder that is meant when somebody is at a row: itself or the one that it is in. */
export function folderAt(row: Row): string {
  return row.kind === 'folder' ? row.id : row.folder;
}

/** The row that a key leads to, as trees of ARIA have it; undefined for a key that leads nowhere. */
export function moved(rows: Row[], at: number, key: string): Row | undefined {
  const row = rows[at];
  switch (key) {
    case 'ArrowDown':
      return rows[Math.min(at + 1, rows.length - 1)];
    case 'ArrowUp':
      return rows[Math.max(at - 1, 0)];
    case 'Home':
      return rows[0];
    case 'End':
      return rows[rows.length - 1];
    case 'ArrowRight':
      return row.isOpen ? rows[at + 1] : undefined;
    case 'ArrowLeft':
      return row.isOpen
        ? undefined
        : rows
            .slice(0, at)
            .reverse()
            .find(each => each.level < row.level);
    default:
      return key.length === 1 && key.trim() ? startingWith(rows, at, key) : undefined;
  }
}

function startingWith(rows: Row[], at: number, letter: string): Row | undefined {
  const after = [...rows.slice(at + 1), ...rows.slice(0, at)];
  return after.find(each => each.item && each.name.toLowerCase().startsWith(letter.toLowerCase()));
}

function has(name: string, words: string): boolean {
  return name.toLowerCase().includes(words.toLowerCase());
}
