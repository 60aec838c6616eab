import React, { FormEvent, useEffect, useState } from 'react';

import { trans, unturned } from '../trans';
import { Grid } from './Grid';
import { Signed } from './Icon';
import { SLOT, Sentence } from './Sentence';

/** A file in the preview, from Python. */
export interface FilePreview {
  key: string;
  size: string;
  written: string;
  words: string;
  columns: [string, string][];
  rows: string[][];
  text: string;
  image: DataView | null;
  mime: string;
  is_part: boolean;
  /** Type of the loaded value: a table, another value, or empty if the file can't be loaded. */
  kind: 'table' | 'value' | '';
  /** Path of the file in a run. */
  remote: string;
  /** An unused variable name. */
  free: string;
}

/** Result of the last load; `offer` is the number of rows to load if all rows don't fit. */
export interface Loaded {
  key?: string;
  words?: string;
  code?: string;
  offer?: number;
}

export interface PreviewProps {
  file: FilePreview;
  loaded: Loaded;
  isBusy: boolean;
  onLoad: (name: string, sample: number) => void;
  /** Actions for pages without a file browser. */
  files?: { onFetch: () => void; onSave: () => void; onDelete: () => void };
}

/** Show the start of a file, and actions on the file. */
export function Preview({ file: seen, loaded, isBusy, onLoad, files }: PreviewProps) {
  return (
    <section className="lk-preview" aria-label={trans.__('Preview of %1', seen.key)}>
      <h4>{unturned(seen.key)}</h4>
      <p>
        {seen.words} <span className="lk-quiet">{seen.written && trans.__('Written %1.', seen.written)}</span>
      </p>
      <p>
        <Sentence text={trans.__('In a run: %1', SLOT)}>
          <code>{unturned(seen.remote)}</code>
        </Sentence>
      </p>
      {seen.kind && <LoadForm key={seen.free} file={seen} loaded={loaded} isBusy={isBusy} onLoad={onLoad} />}
      {loaded.key === seen.key && loaded.words && (
        <div className="lk-loaded" role="status">
          <Signed text={`${loaded.code ? '✓' : '⚠'} ${loaded.words}`} />
          {loaded.code && <pre>{loaded.code}</pre>}
        </div>
      )}
      {files && (
        <div className="lk-row">
          <button type="button" disabled={isBusy} onClick={files.onFetch}>
            {trans.__("Download to the notebook's folder")}
          </button>
          <button type="button" disabled={isBusy} onClick={files.onSave}>
            {trans.__('Save to my computer')}
          </button>
          <button type="button" disabled={isBusy} onClick={files.onDelete}>
            {trans.__('Delete …')}
          </button>
        </div>
      )}
      {seen.columns.length > 0 && <Grid label={trans.__('First rows')} columns={seen.columns} rows={seen.rows} />}
      {seen.text && (
        <pre className="lk-text" tabIndex={0} role="region" aria-label={trans.__('Text')}>
          {unturned(seen.text)}
        </pre>
      )}
      {seen.mime && seen.image && <Image bytes={seen.image} mime={seen.mime} name={seen.key} />}
      {seen.is_part && <p className="lk-quiet">{trans.__('Preview truncated.')}</p>}
    </section>
  );
}

type LoadFormProps = Pick<PreviewProps, 'file' | 'loaded' | 'isBusy' | 'onLoad'>;

function LoadForm({ file: seen, loaded, isBusy, onLoad }: LoadFormProps) {
  const [name, setName] = useState(seen.free);
  const load = (event: FormEvent) => {
    event.preventDefault();
    onLoad(name, 0);
  };
  return (
    <form className="lk-row" onSubmit={load}>
      <button type="submit" className="lk-main" disabled={isBusy || !name}>
        {seen.kind === 'table' ? trans.__('Load into pandas') : trans.__('Load')}
      </button>
      <label>
        {trans.__('as')}{' '}
        <input
          value={name}
          size={14}
          spellCheck={false}
          onInput={event => setName((event.target as HTMLInputElement).value)}
        />
      </label>
      {loaded.key === seen.key && loaded.offer && (
        <button type="button" disabled={isBusy} onClick={() => onLoad(name, loaded.offer!)}>
          {trans._n('Load the first row', 'Load the first %2 rows', loaded.offer, loaded.offer.toLocaleString())}
        </button>
      )}
    </form>
  );
}

function Image({ bytes, mime, name }: { bytes: DataView; mime: string; name: string }) {
  const [url, setUrl] = useState('');
  useEffect(() => {
    const objectUrl = URL.createObjectURL(new Blob([bytes as DataView<ArrayBuffer>], { type: mime }));
    setUrl(objectUrl);
    return () => URL.revokeObjectURL(objectUrl);
  }, [bytes, mime]);
  return url ? <img src={url} alt={name} /> : null;
}
