/** The rows of a tree of open folders, and keyboard moves between rows. */

import { trans } from '../trans';

/** A file or a folder. The key of a folder ends with a slash. */
export interface Item {
  key: string;
  size: string;
  written: string;
  /** Sort keys for size and time. */
  bytes?: number;
  at?: number;
}

export interface Order {
  by: 'name' | 'size' | 'written';
  down: boolean;
}

/** The order in which the bucket lists its keys. */
export const BY_NAME: Order = { by: 'name', down: false };

/** Loaded items of an open folder. `token` continues the listing; `begins` is a filter on names. */
export interface Listing {
  items: Item[];
  token: string;
  begins: string;
  is_read: boolean;
}

export type Folders = Record<string, Listing>;

/** A row: a folder, a file, or a line between items, such as a button to load more. */
export interface Row {
  id: string;
  kind: 'folder' | 'file' | 'more' | 'all' | 'words';
  /** Key of the parent folder. */
  folder: string;
  name: string;
  level: number;
  isOpen?: boolean;
  item?: Item;
}

/** Return the rows of the tree, never empty. */
export function buildTree(folders: Folders, root: string, words: string, order = BY_NAME): Row[] {
  const rows = folderRows(folders, root, words, order);
  const none = trans.__('No loaded name matches');
  return rows.length ? rows : [{ id: '\nnone', kind: 'words', folder: root, name: none, level: 1 }];
}

/** Return how many loaded names contain the words. */
export function countWords(folders: Folders, rows: Row[], words: string): string {
  const count = rows.filter(row => row.item && has(row.name, words)).length;
  const all = Object.values(folders).reduce((sum, listing) => sum + listing.items.length, 0);
  return trans._n(
    '%2 of %3 loaded names contain “%4”',
    '%2 of %3 loaded names contain “%4”',
    all,
    count.toLocaleString(),
    all.toLocaleString(),
    words
  );
}

/** Return the rows of a folder and its open subfolders, filtered by `words`. */
function folderRows(folders: Folders, folder: string, words: string, order: Order, level = 1): Row[] {
  const listing = folders[folder];
  const other = (kind: Row['kind'], name: string): Row => ({ id: `${folder}\n${kind}`, kind, folder, name, level });
  if (!listing.is_read) {
    return [other('words', trans.__('Reading …'))];
  }
  const rows = sorted(listing.items, order).flatMap(item => itemRows(folders, folder, item, words, order, level));
  if (listing.begins) {
    rows.unshift(other('all', trans.__('Filtered: only names that start with “%1”. Show all names', listing.begins)));
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

/** Return the order after a click on a column: largest or newest first, then reversed. */
export function turned({ by, down }: Order, to: Order['by']): Order {
  return { by: to, down: by === to ? !down : to !== 'name' };
}

/** Sort items, folders first. Items with equal keys keep their order. */
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

/** Return the folder at a row: the row itself or its parent. */
export function folderAt(row: Row): string {
  return row.kind === 'folder' ? row.id : row.folder;
}

/** Return the row to which a key moves, by the ARIA rules for trees; undefined if the key moves nowhere. */
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
