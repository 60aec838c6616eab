/** The open folders of the bucket, as the server lists them. */
import { useRef, useState } from 'react';

import { Folders, Item, Listing } from '../components/folders';
import { request } from '../request';
import { StorageContent, StorageItem } from '../types';
import { bytes } from '../format';

/** How many items of a folder are asked for at once. */
const MOST = 200;

const UNREAD: Listing = { items: [], token: '', begins: '', is_read: false };
const START: Folders = { '': UNREAD };

export interface Bucket {
  folders: Folders;
  open: (folder: string) => Promise<void>;
  close: (folder: string) => void;
  more: (folder: string) => Promise<void>;
  /** Read all open folders anew; those that are gone close. */
  refresh: () => Promise<void>;
}

/** Of another account they are others: what was asked for the one before comes to nothing. */
export function useFolders(account: string): Bucket {
  const [kept, keep] = useState({ account, folders: START });
  const now = useRef(account);
  now.current = account;
  const foldersOf = (all: typeof kept) => (all.account === account ? all.folders : START);
  const folders = foldersOf(kept);
  const setFolders = (change: (folders: Folders) => Folders) =>
    account === now.current && keep(all => ({ account, folders: change(foldersOf(all)) }));
  const put = (folder: string, listing: Listing) => setFolders(now => ({ ...now, [folder]: listing }));
  const without = (folder: string) =>
    setFolders(now => Object.fromEntries(Object.entries(now).filter(([name]) => !folder || !name.startsWith(folder))));
  const open = async (folder: string) => {
    put(folder, UNREAD);
    try {
      put(folder, await read(folder, 0, MOST));
    } catch (failure) {
      without(folder);
      throw failure;
    }
  };
  const more = async (folder: string) => {
    const { items } = folders[folder];
    const next = await read(folder, items.length, MOST);
    put(folder, { ...next, items: [...items, ...next.items] });
  };
  const refresh = async () => {
    for (const [folder, { items }] of Object.entries(folders)) {
      const listing = await read(folder, 0, Math.max(MOST, items.length));
      if (folder && !listing.items.length) {
        without(folder);
      } else {
        put(folder, listing);
      }
    }
  };
  return { folders, open, close: without, more, refresh };
}

async function read(folder: string, offset: number, limit: number): Promise<Listing> {
  const query = `folder=${encodeURIComponent(folder)}&limit=${limit}&offset=${offset}`;
  const { items, total } = await request<StorageContent>(`storage/list?${query}`);
  return {
    items: items.map(itemOf),
    token: offset + items.length < total ? 'more' : '',
    begins: '',
    is_read: true
  };
}

function itemOf({ key, size, last_modified: written }: StorageItem): Item {
  return {
    key,
    size: typeof size === 'number' ? bytes(size) : '',
    written: written ? new Date(written).toLocaleDateString() : '',
    bytes: size ?? undefined,
    at: written ? Date.parse(written) : undefined
  };
}
