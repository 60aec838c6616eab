import React, { DragEvent, FormEvent, useEffect, useRef, useState } from 'react';

import { BY_NAME, folderAt, Folders, countWords, Row, buildTree } from '../components/folders';
import { Icon, IconButton } from '../components/Icon';
import { Loaded, Preview, FilePreview } from '../components/Preview';
import { askAboutConflict, QuestionContent, Question } from '../components/Question';
import { StorageTree } from '../components/StorageTree';
import { Ask, How, upload } from '../components/upload';
import { trans } from '../trans';
import { Props, widget } from './view';

type Traits = { root: string; folders: Folders; seen: Partial<FilePreview>; loaded: Loaded; transfer: string };

/** Milliseconds before a late answer is reported. */
const LATE = 3000;

export function StorageBrowser({ root, folders, seen, loaded, transfer, ask }: Props<Traits>) {
  const [{ current, folder }, setPlace] = useState({ current: '', folder: root });
  const [words, setWords] = useState('');
  const [question, setQuestion] = useState<QuestionContent | null>(null);
  const [busy, during] = useBusy();
  const [order, setOrder] = useState(BY_NAME);
  const [isNaming, setNaming] = useState(false);
  const rows = buildTree(folders, root, words, order);
  const { sending, send } = useUploads(ask, setQuestion);

  const use = (row: Row) => {
    if (row.kind === 'folder') {
      void (row.isOpen
        ? during(trans.__('Closing …'), ask('close_folder', { folder: row.id }))
        : during(trans.__('Opening %1 …', row.name), ask('open_folder', { folder: row.id })));
    } else if (row.kind === 'file') {
      void during(trans.__('Reading %1 …', row.name), ask('look', { key: row.id }));
    } else if (row.kind === 'more') {
      void during(trans.__('Reading more …'), ask('more', { folder: row.folder }));
    } else if (row.kind === 'all') {
      void during(trans.__('Reading …'), ask('open_folder', { folder: row.folder }));
    }
  };
  const find = (event: FormEvent) => {
    event.preventDefault();
    setWords('');
    void during(trans.__('Searching …'), ask('open_folder', { folder, begins: words }));
  };
  const remove = async (key: string) => {
    const size = await during(trans.__('Measuring the size …'), ask<string>('weigh', { key }));
    if (size) {
      const text = trans.__('Delete %1 (%2) permanently?', key, size);
      const onYes = () => {
        setPlace(place => (place.folder.startsWith(key) ? { current: '', folder: root } : place));
        void during(trans.__('Deleting %1 …', key), ask('delete', { key }));
      };
      setQuestion({ text, yes: trans.__('Delete'), onYes });
    }
  };
  const fetch = async (key: string, replace = false) => {
    const answer = await during(trans.__('Fetching %1 …', key), ask<{ taken?: string }>('fetch', { key, replace }));
    if (answer?.taken) {
      const text = trans.__("%1 already exists in the notebook's folder. Replace it?", answer.taken);
      setQuestion({ text, yes: trans.__('Replace'), onYes: () => void fetch(key, true) });
    }
  };
  const save = async (key: string) => {
    const content = await during(trans.__('Fetching %1 …', key), ask<string>('content', { key }));
    if (content !== undefined) {
      handOver(content, key);
    }
  };
  const make = (name: string) => {
    setNaming(false);
    void during(trans.__('Creating %1 …', name), ask('make_folder', { folder, name }));
  };
  const { isOver, ...target } = useDrop(folder, send);
  return (
    <div className={`lk-browser${isOver ? ' lk-over' : ''}`} data-lm-suppress-shortcuts {...target}>
      <form className="lk-row" onSubmit={find}>
        <label>
          {trans.__('Find')}{' '}
          <input type="search" value={words} onInput={event => setWords((event.target as HTMLInputElement).value)} />
        </label>
        <button type="submit" disabled={!words}>
          {folder ? trans.__('Filter names in %1', folder) : trans.__('Filter the bucket by name')}
        </button>
        <IconButton icon="newFolder" name={trans.__('New folder')} onClick={() => setNaming(!isNaming)} />
        <UploadButton folder={folder} onFiles={files => send(files, folder)} />
        <IconButton
          icon="rerun"
          name={trans.__('Refresh')}
          onClick={() => void during(trans.__('Reading …'), ask('refresh'))}
        />
      </form>
      <Crumbs root={root} folder={folder} onGo={to => setPlace({ current: to, folder: to })} />
      {isNaming && <NewFolder folder={folder} onMake={make} />}
      <p className="lk-status" role="status">
        {[busy, transfer, words && countWords(folders, rows, words)].filter(Boolean).join(' · ') ||
          (isOver ? dropWords(folder) : '\u00a0')}
      </p>
      {sending}
      {question && <Question key={question.text} question={question} onEnd={() => setQuestion(null)} />}
      <div className="lk-panes">
        <StorageTree
          rows={rows}
          order={order}
          onOrder={setOrder}
          current={current}
          previewed={seen.key ?? ''}
          onCurrent={row => setPlace({ current: row.id, folder: folderAt(row) })}
          onUse={use}
          onDelete={row => void remove(row.id)}
        />
        {seen.key && (
          <Preview
            file={seen as FilePreview}
            loaded={loaded}
            isBusy={!!busy}
            onLoad={(name, sample) =>
              void during(trans.__('Loading …'), ask('load_value', { key: seen.key, name, sample }))
            }
            files={{
              onFetch: () => void fetch(seen.key!),
              onSave: () => void save(seen.key!),
              onDelete: () => void remove(seen.key!)
            }}
          />
        )}
      </div>
    </div>
  );
}

/** The path from the top to the folder of uploads. */
function Crumbs({ root, folder, onGo }: { root: string; folder: string; onGo: (folder: string) => void }) {
  const names = folder.slice(root.length).split('/').slice(0, -1);
  const ways = names.map((name, at) => ({ name, to: `${root}${names.slice(0, at + 1).join('/')}/` }));
  return (
    <nav className="lk-crumbs" aria-label={trans.__('Folder')}>
      <Icon name="folder" />
      {[{ name: root.slice(0, -1) || trans.__('Bucket'), to: root }, ...ways].map(({ name, to }) => (
        <React.Fragment key={to}>
          <button
            type="button"
            className="lk-plain"
            aria-current={to === folder ? 'location' : undefined}
            onClick={() => onGo(to)}
          >
            {name}
          </button>
          {' / '}
        </React.Fragment>
      ))}
    </nav>
  );
}

function NewFolder({ folder, onMake }: { folder: string; onMake: (name: string) => void }) {
  const [name, setName] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onMake(name);
  };
  return (
    <form className="lk-row" onSubmit={submit}>
      <label>
        {folder ? trans.__('New folder in %1', folder) : trans.__('New folder in the bucket')}{' '}
        <input value={name} autoFocus onInput={event => setName((event.target as HTMLInputElement).value)} />
      </label>
      <button type="submit" disabled={!name}>
        {trans.__('Create')}
      </button>
    </form>
  );
}

function dropWords(folder: string): string {
  return folder
    ? trans.__('Drop files here to upload them to %1', folder)
    : trans.__('Drop files here to upload them to the bucket');
}

/** Return the status text, and a function that shows a text during a task. The notice shows errors. */
function useBusy() {
  const [words, setWords] = useState('');
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(!!words), LATE);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [words]);
  const during = async <R,>(what: string, work: Promise<R>): Promise<R | undefined> => {
    setWords(what);
    try {
      return await work;
    } catch {
      return undefined;
    } finally {
      setWords(now => (now === what ? '' : now));
    }
  };
  return [isLate ? trans.__("%1 The storage hasn't answered yet; trying again.", words) : words, during] as const;
}

/** Upload files one after another, show progress, and prompt before a file replaces an object. */
function useUploads(ask: Ask, onAsk: (question: QuestionContent) => void) {
  const [state, setState] = useState<{ name: string; share: number } | null>(null);
  const queue = useRef(Promise.resolve());
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);

  const one = async (file: File, key: string, conflict: How['conflict']): Promise<void> => {
    stop.current = new AbortController();
    setState({ name: file.name, share: 0 });
    const report = (share: number) => setState({ name: file.name, share });
    const ended = await upload(file, key, ask, { conflict, report, signal: stop.current.signal }).catch(() => 'failed');
    setState(null);
    if (ended === 'taken') {
      const answer = await askAboutConflict(key, onAsk);
      return answer === 'cancel' ? undefined : one(file, key, answer);
    }
  };
  const send = (files: Iterable<File>, folder: string) => {
    for (const file of files) {
      queue.current = queue.current.then(() => one(file, folder + file.name, 'ask'));
    }
  };
  const sending = state && <Uploading {...state} onStop={() => stop.current.abort()} />;
  return { sending, send };
}

/** Progress of an upload. */
export function Uploading({ name, share, onStop }: { name: string; share: number; onStop: () => void }) {
  return (
    <div className="lk-row">
      <label>
        {trans.__('Uploading %1', name)} <progress value={share} />
      </label>
      <span>{Math.round(100 * share)} %</span>
      <button type="button" onClick={onStop}>
        {trans.__('Stop')}
      </button>
    </div>
  );
}

/** Return handlers for dropped files, on a folder or elsewhere. */
function useDrop(folder: string, send: (files: Iterable<File>, folder: string) => void) {
  const [isOver, setOver] = useState(false);
  const take = (event: DragEvent) => {
    if (event.dataTransfer.types.includes('Files')) {
      event.preventDefault();
      event.stopPropagation();
      setOver(event.type === 'dragover');
    }
  };
  const onDrop = (event: DragEvent) => {
    take(event);
    const row = (event.target as HTMLElement).closest<HTMLElement>('[data-folder]');
    send([...event.dataTransfer.files], row?.dataset.folder ?? folder);
  };
  return { isOver, onDragOver: take, onDragLeave: take, onDrop };
}

function UploadButton({ folder, onFiles }: { folder: string; onFiles: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const chosen = () => {
    onFiles([...input.current!.files!]);
    input.current!.value = '';
  };
  return (
    <>
      <IconButton
        icon="upload"
        name={folder ? trans.__('Upload to %1 …', folder) : trans.__('Upload to the bucket …')}
        onClick={() => input.current!.click()}
      />
      <input type="file" multiple hidden ref={input} onChange={chosen} />
    </>
  );
}

/** Save a file with the browser. */
function handOver(content: string, key: string): void {
  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes]));
  const link = Object.assign(document.createElement('a'), { href: url, download: key.split('/').pop() });
  link.click();
  URL.revokeObjectURL(url);
}

export default widget<Traits>(StorageBrowser, ['root', 'folders', 'seen', 'loaded', 'transfer']);
