import React, { DragEvent, useEffect, useRef, useState } from 'react';

import { COMMANDS } from '../commands';
import { BY_NAME, folderAt, Row, treeOf } from '../components/folders';
import { askAboutConflict, Asked, Question } from '../components/Question';
import { StorageTree } from '../components/StorageTree';
import { open, request, Trouble, urlOf } from '../request';
import { trans } from '../trans';
import { PreviewContent } from '../types';
import type { Tools } from './tools';
import { useFolders } from './useFolders';

/** The bucket as a tree: look into a file, take it into a cell, fetch, add and remove files. */
export function StorageSection({ tools: { cloud, commands, say, shown } }: { tools: Tools }) {
  const bucket = useFolders(cloud.account);
  const { folders } = bucket;
  const [{ current, folder }, setPlace] = useState({ current: '', folder: '' });
  const [order, setOrder] = useState(BY_NAME);
  const [preview, setPreview] = useState<PreviewContent | null>(null);
  const [asked, setAsked] = useState<Asked | null>(null);
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  useEffect(() => {
    if (shown) {
      void attempt(() => (folders['']?.is_read ? bucket.refresh() : bucket.open('')));
    }
  }, [shown]);

  const look = async (key: string) =>
    setPreview(await request<PreviewContent>(`storage/preview?key=${encodeURIComponent(key)}&bytes=4096`));
  const use = (row: Row) => {
    if (row.kind === 'folder') {
      void attempt(async () => (row.isOpen ? bucket.close(row.id) : bucket.open(row.id)));
    } else if (row.kind === 'file') {
      void attempt(() => look(row.id));
    } else if (row.kind === 'more') {
      void attempt(() => bucket.more(row.folder));
    }
  };
  const upload = (files: File[], to: string) =>
    attempt(async () => {
      for (const one of files) {
        say({ kind: 'info', text: trans.__('Uploading %1 …', one.name) });
        const key = await store(to + one.name, one, setAsked);
        if (key) {
          say({ kind: 'info', text: trans.__('Uploaded %1. A run opens it as %2.', key, `/mnt/s3/${key}`) });
          await bucket.refresh();
          await (preview?.key === key && look(key));
        } else {
          say({ kind: 'info', text: '' });
        }
      }
    });
  const remove = (key: string) => {
    const path = key.endsWith('/') ? `api/storage/delete-folder/${encoded(key)}` : `api/storage/delete/${encoded(key)}`;
    const onYes = () =>
      void attempt(async () => {
        await request(path, { method: 'DELETE' });
        setPreview(null);
        await bucket.refresh();
      });
    setAsked({ text: trans.__('Delete %1 permanently?', key), yes: trans.__('Delete'), onYes });
  };
  return (
    <div
      onDragOver={event => event.preventDefault()}
      onDrop={event => {
        event.preventDefault();
        void upload([...event.dataTransfer.files], folderUnder(event));
      }}
    >
      <div className="lk-row lk-small">
        <Upload folder={folder} onFiles={files => void upload(files, folder)} />
        <button type="button" onClick={() => void attempt(bucket.refresh)}>
          {trans.__('Refresh')}
        </button>
      </div>
      {asked && <Question key={asked.text} asked={asked} onEnd={() => setAsked(null)} />}
      <StorageTree
        rows={treeOf(folders, '', '', order)}
        order={order}
        onOrder={setOrder}
        current={current}
        seen={preview?.key ?? ''}
        onCurrent={row => setPlace({ current: row.id, folder: folderAt(row) })}
        onUse={use}
        onDelete={row => remove(row.id)}
        onDrag={(row, { dataTransfer }) => {
          dataTransfer.setData('text/plain', loading(row.id));
          dataTransfer.effectAllowed = 'copy';
        }}
      />
      {preview && (
        <Peek
          preview={preview}
          onInsert={() => void commands.execute(COMMANDS.insert, { code: loading(preview.key) })}
          onRemove={() => remove(preview.key)}
          onClose={() => setPreview(null)}
        />
      )}
    </div>
  );
}

function Upload({ folder, onFiles }: { folder: string; onFiles: (files: File[]) => void }) {
  const field = useRef<HTMLInputElement>(null);
  const chosen = () => {
    onFiles([...field.current!.files!]);
    field.current!.value = ''; // so that the same file can be chosen again
  };
  return (
    <>
      <button
        type="button"
        title={folder ? trans.__('To %1', folder) : trans.__('To the bucket')}
        onClick={() => field.current?.click()}
      >
        {trans.__('Upload')}
      </button>
      <input ref={field} type="file" multiple hidden aria-label={trans.__('Files to upload')} onChange={chosen} />
    </>
  );
}

type PeekProps = { preview: PreviewContent; onInsert: () => void; onRemove: () => void; onClose: () => void };

/** The beginning of a file, and what can be done with it. */
function Peek({ preview: { key, text, truncated }, onInsert, onRemove, onClose }: PeekProps) {
  const name = key.split('/').pop()!;
  return (
    <section aria-label={trans.__('Preview of %1', key)}>
      <pre className="lk-peek" tabIndex={0} aria-label={trans.__('First part of %1', name)}>
        {text === null
          ? trans.__("This isn't text.")
          : truncated
            ? `${text}\n…`
            : text || trans.__('The file is empty.')}
      </pre>
      <div className="lk-row lk-small">
        <button type="button" title={trans.__('Drag the file into a cell to do the same')} onClick={onInsert}>
          {trans.__('Insert code')}
        </button>
        <a href={urlOf(`api/storage/download/${encoded(key)}`)} download={name}>
          {trans.__('Download')}
        </a>
        <button type="button" onClick={onRemove}>
          {trans.__('Delete')}
        </button>
        <button type="button" onClick={onClose}>
          {trans.__('Close')}
        </button>
      </div>
    </section>
  );
}

/** The folder of the tree that something is dropped on. */
function folderUnder(event: DragEvent): string {
  return (event.target as HTMLElement).closest<HTMLElement>('[data-folder]')?.dataset.folder ?? '';
}

function encoded(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}

/** Suffix → the function of pandas that reads it. */
const READERS: Record<string, string> = {
  csv: 'read_csv',
  feather: 'read_feather',
  json: 'read_json',
  parquet: 'read_parquet',
  xlsx: 'read_excel'
};

/** Code that loads a file. No magic, as names of files would be expanded in its line; quotes of JSON are Python's too. */
export function loading(key: string): string {
  const suffix = key.split('.').pop()!.toLowerCase();
  const reader = Object.hasOwn(READERS, suffix) && READERS[suffix];
  return reader
    ? `import pandas as pd\n\ndata = pd.${reader}(${JSON.stringify(`lk://${key}`)})\n`
    : `import lk_jupyter\n\ndata = lk_jupyter.connect().storage.get_bytes(${JSON.stringify(key)})\n`;
}

/** Store a file, as somebody decides where its key is taken; returns its key, and none when it was not stored. */
async function store(key: string, file: File, ask: (asked: Asked) => void): Promise<string | null> {
  if (await isStored(key, file)) {
    return key;
  }
  const answer = await askAboutConflict(key, ask);
  if (answer === 'overwrite') {
    await send(key, file, false);
  }
  return answer === 'keep-both' ? storeBeside(key, file) : answer === 'cancel' ? null : key;
}

/** Store a file as the first of `x (1).csv`, `x (2).csv` and so on that is free. */
async function storeBeside(key: string, file: File): Promise<string> {
  const [, start, ending] = /^(.*?[^/])(\.[^./]*)?$/.exec(key)!;
  for (let number = 1; ; number++) {
    const free = `${start} (${number})${ending ?? ''}`;
    if (await isStored(free, file)) {
      return free;
    }
  }
}

/** Store a file under a key that is free; false where it is taken, or another upload takes it first. */
async function isStored(key: string, file: File): Promise<boolean> {
  if (await exists(key)) {
    return false; // before all of a large file was sent for nothing
  }
  try {
    await send(key, file, true);
    return true;
  } catch (failure) {
    if (failure instanceof Trouble && failure.response?.status === 412) {
      return false;
    }
    throw failure;
  }
}

async function exists(key: string): Promise<boolean> {
  try {
    await request(`storage/info?key=${encodeURIComponent(key)}`);
    return true;
  } catch (failure) {
    if (failure instanceof Trouble && failure.response?.status === 404 && failure.state === 'refused') {
      return false;
    }
    throw failure;
  }
}

async function send(key: string, content: File, isNew: boolean): Promise<void> {
  const form = new FormData();
  form.append('file', content, content.name);
  await open(`api/storage/upload?key=${encodeURIComponent(key)}`, { method: 'POST', form, isNew });
}
