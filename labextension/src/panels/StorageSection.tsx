import React, { DragEvent, useEffect, useRef, useState } from 'react';

import { COMMANDS } from '../commands';
import { open, request, urlOf } from '../request';
import { PreviewContent, StorageContent, StorageItem } from '../types';
import { bytes } from '../words';
import type { Tools } from './SidePanel';

const MOST = 200;

/** A folder of the bucket: go through it, look into a file, take it into a cell, fetch, add and remove files. */
export function StorageSection({ tools: { commands, say } }: { tools: Tools }) {
  const [folder, setFolder] = useState('');
  const [most, setMost] = useState(MOST);
  const [age, setAge] = useState(0);
  const [content, setContent] = useState<StorageContent | null>(null);
  const [preview, setPreview] = useState<PreviewContent | null>(null);
  const file = useRef<HTMLInputElement>(null);
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  useEffect(() => {
    const asks = new AbortController();
    const path = `storage/list?folder=${encodeURIComponent(folder)}&limit=${most}`;
    void attempt(async () => setContent(await request<StorageContent>(path, { signal: asks.signal })));
    return () => asks.abort();
  }, [folder, most, age]);
  const goTo = (where: string) => {
    setMost(MOST);
    setPreview(null);
    setFolder(where);
  };
  const upload = (files: FileList | null) =>
    attempt(async () => {
      for (const one of files ?? []) {
        say({ kind: 'info', text: `Uploading ${one.name} …` });
        await send(folder + one.name, one);
        say({ kind: 'info', text: `${one.name} is in the bucket.` });
      }
      setAge(age + 1);
    });
  const remove = (item: StorageItem) =>
    attempt(async () => {
      if (window.confirm(`Remove ${item.key} from the bucket? This cannot be undone.`)) {
        await request(`api/storage/delete/${encoded(item.key)}`, { method: 'DELETE' });
        setAge(age + 1);
      }
    });
  const look = (item: StorageItem) =>
    attempt(async () => setPreview(await request(`storage/preview?key=${encodeURIComponent(item.key)}&bytes=4096`)));

  return (
    <div
      onDragOver={event => event.preventDefault()}
      onDrop={event => {
        event.preventDefault();
        void upload(event.dataTransfer.files);
      }}
    >
      <nav aria-label="Folders" className="lk-row lk-small">
        <button type="button" onClick={() => goTo('')}>
          Bucket
        </button>
        {folder
          .split('/')
          .slice(0, -1)
          .map((name, at, all) => (
            <button type="button" key={at} onClick={() => goTo(`${all.slice(0, at + 1).join('/')}/`)}>
              {name}/
            </button>
          ))}
        <button type="button" onClick={() => file.current?.click()}>
          Upload
        </button>
        <input
          ref={file}
          type="file"
          multiple
          hidden
          aria-label="Files to upload"
          onChange={event => void upload(event.target.files)}
        />
      </nav>
      {!content && <p role="status">Asking the cloud …</p>}
      {content && !content.items.length && (
        <p className="lk-quiet">Nothing here. Drop files to upload them, or use %lk_put in a cell.</p>
      )}
      <ul className="lk-list" aria-label="Files">
        {content?.items.map(item =>
          item.is_folder ? (
            <li key={item.key}>
              <button type="button" className="lk-link" onClick={() => goTo(item.key)}>
                {item.name}/
              </button>
            </li>
          ) : (
            <li key={item.key} draggable onDragStart={event => carry(event, item)} title="Drag into a cell to load it">
              <button type="button" className="lk-link" onClick={() => void look(item)}>
                {item.name}
              </button>
              <span className="lk-quiet"> {typeof item.size === 'number' ? bytes(item.size) : ''}</span>
              <div className="lk-row lk-small">
                <button
                  type="button"
                  aria-label={`Insert code that loads ${item.name}`}
                  onClick={() => void commands.execute(COMMANDS.insert, { code: loading(item.key) })}
                >
                  Insert
                </button>
                <a href={urlOf(`api/storage/download/${encoded(item.key)}`)} download={item.name}>
                  Download<span className="lk-unseen"> {item.name}</span>
                </a>
                <button type="button" aria-label={`Remove ${item.name}`} onClick={() => void remove(item)}>
                  Remove
                </button>
              </div>
              {preview?.key === item.key && (
                <pre className="lk-peek" tabIndex={0} aria-label={`The beginning of ${item.name}`}>
                  {preview.text ?? 'This is no text.'}
                </pre>
              )}
            </li>
          )
        )}
      </ul>
      {content && content.total > content.items.length && (
        <button type="button" onClick={() => setMost(most + MOST)}>
          Show more of {content.total}
        </button>
      )}
    </div>
  );
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
  const reader = READERS[key.split('.').pop()!.toLowerCase()];
  return reader
    ? `import pandas as pd\n\ndata = pd.${reader}(${JSON.stringify(`lk://${key}`)})\n`
    : `import lk_jupyter\n\ndata = lk_jupyter.connect().storage.get_bytes(${JSON.stringify(key)})\n`;
}

function carry(event: DragEvent, item: StorageItem): void {
  event.dataTransfer.setData('text/plain', loading(item.key));
  event.dataTransfer.effectAllowed = 'copy';
}

async function send(key: string, content: File): Promise<void> {
  const form = new FormData();
  form.append('file', content, content.name);
  await open(`api/storage/upload?key=${encodeURIComponent(key)}`, { method: 'POST', form });
}
