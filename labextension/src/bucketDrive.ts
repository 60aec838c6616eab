/**
 * The bucket as a drive of Lab, for Lab's file browser, editors and viewers.
 *
 * A path of the drive is a key without the final slash of folders. There are no checkpoints: saving replaces an object.
 */
import { PathExt } from '@jupyterlab/coreutils';
import { Contents, ServerConnection } from '@jupyterlab/services';
import { ISignal, Signal } from '@lumino/signaling';

import { Ask, open, routeUrl } from './request';
import { trans } from './trans';
import { StorageContent, StorageItem } from './types';

type Open = (path: string, ask?: Ask) => Promise<Response>;

/** Maximum number of items in one answer, and in a folder that Lab shows. */
const PAGE = 1000;
const MOST_ITEMS = 10_000;

/** Maximum size in bytes of an object in an editor or viewer. */
const MOST_BYTES = 50_000_000;

const NO_CHECKPOINT = { id: 'none', last_modified: new Date(0).toISOString() };
const UNTITLED = { directory: 'Untitled Folder', file: 'untitled', notebook: 'Untitled' };
const EMPTY_NOTEBOOK = { cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 };

export class BucketDrive implements Contents.IDrive {
  readonly name = 'bucket';
  readonly serverSettings = ServerConnection.makeSettings();
  isDisposed = false;
  private readonly changed = new Signal<this, Contents.IChangedArgs>(this);
  /** Path → received pieces of an upload. */
  private readonly pieces = new Map<string, Blob[]>();

  constructor(
    private readonly open_: Open = open,
    private readonly onCut: (folder: string) => void = () => undefined
  ) {}

  get fileChanged(): ISignal<this, Contents.IChangedArgs> {
    return this.changed;
  }

  dispose(): void {
    this.isDisposed = true;
    Signal.clearData(this);
  }

  async get(path: string, { content = true, type, format }: Contents.IFetchOptions = {}): Promise<Contents.IModel> {
    const item = path && type !== 'directory' ? await this.info(path) : folderItem(path);
    const model = toModel(item, path);
    if (!content) {
      return model;
    }
    return item.is_folder
      ? { ...model, format: 'json', content: await this.list(path) }
      : { ...model, ...(await this.read(item, type, format)) };
  }

  getDownloadUrl(path: string): Promise<string> {
    return Promise.resolve(routeUrl(`api/storage/download/${encodedKey(path)}`));
  }

  async newUntitled({
    path = '',
    type = 'file',
    ext = '.txt'
  }: Contents.ICreateOptions = {}): Promise<Contents.IModel> {
    const kind = type === 'directory' || type === 'notebook' ? type : 'file';
    const ending = { directory: '', notebook: '.ipynb', file: ext && !ext.startsWith('.') ? `.${ext}` : ext }[kind];
    const free = PathExt.join(path, await this.freeName(path, UNTITLED[kind], ending));
    if (kind === 'directory') {
      await this.json('storage/folder', { method: 'POST', body: { folder: free } });
    } else {
      await this.put(free, new Blob(kind === 'notebook' ? [JSON.stringify(EMPTY_NOTEBOOK)] : []), true);
    }
    return this.emitChange('new', null, free);
  }

  async delete(path: string): Promise<void> {
    const item = await this.info(path);
    const kind = item.is_folder ? 'delete-folder' : 'delete';
    await this.open_(`api/storage/${kind}/${encodedKey(item.key)}`, { method: 'DELETE' });
    this.changed.emit({ type: 'delete', oldValue: { path }, newValue: null });
  }

  async rename(path: string, to: string): Promise<Contents.IModel> {
    await this.move(path, to, false);
    return this.emitChange('rename', { path }, to);
  }

  async copy(path: string, folder: string): Promise<Contents.IModel> {
    const ending = PathExt.extname(path);
    const name = await this.freeName(folder, PathExt.basename(path, ending), ending);
    const to = PathExt.join(folder, name);
    await this.move(path, to, true);
    return this.emitChange('new', null, to);
  }

  async save(path: string, options: Partial<Contents.IModel> & { chunk?: number } = {}): Promise<Contents.IModel> {
    const piece = toBlob(options);
    const before = options.chunk === undefined || options.chunk === 1 ? [] : (this.pieces.get(path) ?? []);
    if (options.chunk !== undefined && options.chunk !== -1) {
      this.pieces.set(path, [...before, piece]);
      return toModel({ key: path, name: PathExt.basename(path), is_folder: false }, path);
    }
    this.pieces.delete(path);
    await this.put(path, new Blob([...before, piece]));
    return this.emitChange('save', null, path);
  }

  /** Upload a file next to the object of the same name, as `x (1).csv`, or replace the object. */
  async upload(path: string, file: File, keepsBoth: boolean): Promise<Contents.IModel> {
    const [folder, ending] = [PathExt.dirname(path), PathExt.extname(path)];
    const start = PathExt.basename(path, ending);
    const free = keepsBoth && (await this.freeName(folder, start, ending, number => ` (${number})`));
    const to = free ? PathExt.join(folder, free) : path;
    await this.put(to, file, keepsBoth);
    return this.emitChange('save', null, to);
  }

  createCheckpoint(): Promise<Contents.ICheckpointModel> {
    return Promise.resolve(NO_CHECKPOINT);
  }

  listCheckpoints(): Promise<Contents.ICheckpointModel[]> {
    return Promise.resolve([]);
  }

  restoreCheckpoint(): Promise<void> {
    return Promise.reject(new Error(trans.__("The bucket doesn't keep older versions of files.")));
  }

  deleteCheckpoint(): Promise<void> {
    return Promise.resolve();
  }

  private async json<T>(path: string, ask?: Ask): Promise<T> {
    return (await (await this.open_(path, ask)).json()) as T;
  }

  private info(path: string): Promise<StorageItem> {
    return this.json(`storage/info?key=${encodeURIComponent(path)}`);
  }

  private async list(path: string): Promise<Contents.IModel[]> {
    const items: StorageItem[] = [];
    for (let isComplete = false; !isComplete;) {
      const query = `folder=${encodeURIComponent(path)}&limit=${PAGE}&offset=${items.length}`;
      const page = await this.json<StorageContent>(`storage/list?${query}`);
      items.push(...page.items);
      isComplete = !page.items.length || items.length >= Math.min(page.total, MOST_ITEMS);
      if (isComplete && page.truncated) {
        this.onCut(path);
      }
    }
    return items.map(item => toModel(item, item.key.replace(/\/$/, '')));
  }

  private async read(
    item: StorageItem,
    type?: string,
    format?: Contents.FileFormat
  ): Promise<Pick<Contents.IModel, 'content' | 'format'>> {
    if ((item.size ?? 0) > MOST_BYTES) {
      const most = MOST_BYTES / 1e6;
      throw new Error(trans.__('%1 is larger than %2 MB: download it, or read it in a cell.', item.name, most));
    }
    const response = await this.open_(`api/storage/download/${encodedKey(item.key)}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const text = format === 'base64' ? null : decodeText(bytes);
    if (text !== null && (type === 'notebook' || (!type && item.name.endsWith('.ipynb')))) {
      return { format: 'json', content: withoutTrust(JSON.parse(text)) };
    }
    return text === null ? { format: 'base64', content: encodeBase64(bytes) } : { format: 'text', content: text };
  }

  private async put(path: string, content: Blob, isNew = false): Promise<void> {
    const form = new FormData();
    form.append('file', content, PathExt.basename(path));
    await this.open_(`api/storage/upload?key=${encodeURIComponent(path)}`, { method: 'POST', form, isNew });
  }

  private async move(path: string, to: string, keep: boolean): Promise<void> {
    const end = (await this.info(path)).is_folder ? '/' : '';
    await this.json('storage/move', { method: 'POST', body: { source: path + end, target: to + end, keep } });
  }

  private async freeName(
    folder: string,
    start: string,
    ending: string,
    numbered: (number: number) => string = String
  ): Promise<string> {
    const names = new Set((await this.list(folder)).map(item => item.name));
    for (let number = 0; ; number++) {
      const name = `${start}${number ? numbered(number) : ''}${ending}`;
      if (!names.has(name)) {
        return name;
      }
    }
  }

  private async emitChange(
    type: Contents.IChangedArgs['type'],
    oldValue: Contents.IChangedArgs['oldValue'],
    path: string
  ): Promise<Contents.IModel> {
    const newValue = await this.get(path, { content: false });
    this.changed.emit({ type, oldValue, newValue });
    return newValue;
  }
}

function folderItem(path: string): StorageItem {
  return { key: path && `${path}/`, name: PathExt.basename(path), is_folder: true };
}

function toModel(item: StorageItem, path: string): Contents.IModel {
  const written = item.last_modified ?? ''; // folders have no time
  const type = item.is_folder ? 'directory' : item.name.endsWith('.ipynb') ? 'notebook' : 'file';
  return {
    name: item.name,
    path,
    type,
    size: item.size ?? undefined,
    created: written,
    last_modified: written,
    mimetype: '',
    format: null,
    content: null,
    writable: true
  };
}

function encodedKey(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

function toBlob({ content, format }: Partial<Contents.IModel>): Blob {
  if (format === 'base64') {
    return new Blob([Uint8Array.from(atob(content as string), letter => letter.charCodeAt(0))]);
  }
  return new Blob([typeof content === 'string' ? content : JSON.stringify(content, null, 1)]);
}

/**
 * Remove trust from the cells of a notebook. Jupyter's server checks signatures, but here Lab would believe the file,
 * and any member can write the file.
 */
function withoutTrust(notebook: unknown): unknown {
  const { cells } = (notebook ?? {}) as { cells?: unknown };
  for (const cell of (Array.isArray(cells) ? cells : []) as ({ metadata?: { trusted?: unknown } } | null)[]) {
    delete cell?.metadata?.trusted;
  }
  return notebook;
}

function decodeText(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function encodeBase64(bytes: Uint8Array): string {
  let letters = '';
  for (let at = 0; at < bytes.length; at += 8192) {
    letters += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(letters);
}
