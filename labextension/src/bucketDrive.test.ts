// @vitest-environment node
import { expect, test, vi } from 'vitest';

import { BucketDrive } from './bucketDrive';

vi.mock('@jupyterlab/services', () => ({
  ServerConnection: { makeSettings: () => ({ baseUrl: 'http://lab/user/x/' }) }
}));

/** Answer the routes of the server from a bucket in memory. */
function makeBucket(objects: Record<string, string>) {
  const paths: string[] = [];
  const open = async (path: string, { method = 'GET', body, form }: any = {}): Promise<Response> => {
    paths.push(`${method} ${path}`);
    const url = new URL(path, 'http://x/');
    const key = url.searchParams.get('key') ?? decodeURIComponent(url.pathname.split('/').slice(4).join('/'));
    const json = (content: unknown) => new Response(JSON.stringify(content));
    const file = (key: string) => ({ key, name: key.split('/').pop(), is_folder: false, size: objects[key]?.length });
    if (url.pathname === '/storage/info') {
      const folder = Object.keys(objects).some(other => other.startsWith(`${key}/`));
      return json(key in objects ? file(key) : folder && { key: `${key}/`, name: key, is_folder: true });
    }
    if (url.pathname === '/storage/list') {
      const at = Number(url.searchParams.get('offset'));
      const items = Object.keys(objects).map(file);
      return json({ items: items.slice(at, at + 1000), total: items.length, truncated: items.length >= 10_000 });
    }
    if (url.pathname === '/storage/move') {
      objects[body.target] = objects[body.source];
      if (!body.keep) {
        delete objects[body.source];
      }
      return json({});
    }
    if (url.pathname === '/api/storage/upload') {
      objects[key] = await (form.get('file') as Blob).text();
      return json({});
    }
    if (method === 'DELETE') {
      delete objects[key];
      return json({});
    }
    return new Response(objects[key]);
  };
  return { open, paths, objects };
}

test('a text file is opened, saved and told of', async () => {
  const { open, objects } = makeBucket({ 'a/b.txt': 'old' });
  const drive = new BucketDrive(open);
  const changes: string[] = [];
  drive.fileChanged.connect((_, { type, newValue }) => changes.push(`${type} ${newValue?.path}`));
  expect((await drive.get('a/b.txt')).content).toBe('old');
  await drive.save('a/b.txt', { content: 'new', format: 'text', type: 'file' });
  expect(objects).toEqual({ 'a/b.txt': 'new' });
  expect(changes).toEqual(['save a/b.txt']);
});

test('a notebook of the bucket is not trusted because it says so', async () => {
  const cells = [{ cell_type: 'code', metadata: { trusted: true, tags: ['x'] } }, { cell_type: 'raw' }, null];
  const drive = new BucketDrive(makeBucket({ 'n.ipynb': JSON.stringify({ cells }), 'odd.ipynb': 'null' }).open);
  const { content } = await drive.get('n.ipynb');
  expect(content.cells).toEqual([{ cell_type: 'code', metadata: { tags: ['x'] } }, { cell_type: 'raw' }, null]);
  expect((await drive.get('odd.ipynb')).content).toBeNull();
});

test('a notebook is opened as one, and what is no text as base64', async () => {
  const drive = new BucketDrive(makeBucket({ 'n.ipynb': '{"cells": []}', 'x.bin': '\u00ff' }).open);
  expect(await drive.get('n.ipynb')).toMatchObject({ type: 'notebook', format: 'json', content: { cells: [] } });
  expect(await drive.get('x.bin', { format: 'base64' })).toMatchObject({ format: 'base64', content: 'w78=' });
});

test('a large file comes in pieces and goes as one', async () => {
  const { open, objects, paths } = makeBucket({});
  const drive = new BucketDrive(open);
  for (const [chunk, content] of [
    [1, 'YQ=='],
    [2, 'Yg=='],
    [-1, 'Yw==']
  ] as const) {
    await drive.save('big.bin', { chunk, content, format: 'base64', type: 'file' });
  }
  expect(objects['big.bin']).toBe('abc');
  expect(paths.filter(line => line.startsWith('POST'))).toHaveLength(1);
});

test('all pages of a folder are read, and a cut is told', async () => {
  const keys = Array.from({ length: 10_000 }, (_, number) => [`f${number}`, '']);
  const { open, paths } = makeBucket(Object.fromEntries(keys));
  const cut = vi.fn();
  const { content } = await new BucketDrive(open, cut).get('');
  expect(content).toHaveLength(10_000);
  expect(paths).toHaveLength(10);
  expect(cut).toHaveBeenCalledWith('');
});

test('a new name is one that is free', async () => {
  const { open, objects } = makeBucket({ 'untitled.txt': '', 'a.txt': 'x' });
  const drive = new BucketDrive(open);
  expect((await drive.newUntitled({ type: 'file', ext: '.txt' })).path).toBe('untitled1.txt');
  expect((await drive.copy('a.txt', '')).path).toBe('a1.txt');
  expect((await drive.rename('a.txt', 'b.txt')).path).toBe('b.txt');
  expect(Object.keys(objects).sort()).toEqual(['a1.txt', 'b.txt', 'untitled.txt', 'untitled1.txt']);
});

test('a hostile name stays one part of the address', async () => {
  const { open, paths } = makeBucket({ 'd/<b>&?#%.txt': 'x' });
  const drive = new BucketDrive(open);
  await drive.delete('d/<b>&?#%.txt');
  expect(paths[1]).toBe('DELETE api/storage/delete/d/%3Cb%3E%26%3F%23%25.txt');
  expect(await drive.getDownloadUrl('d/a b')).toBe('http://lab/user/x/lk/api/storage/download/d/a%20b');
});

test('a file whose name exists is stored next to the object, or replaces the object', async () => {
  const { open, objects } = makeBucket({ 'a/x.csv': 'old', 'a/x (1).csv': 'older' });
  const drive = new BucketDrive(open);
  const file = new File(['new'], 'x.csv');
  expect((await drive.upload('a/x.csv', file, true)).path).toBe('a/x (2).csv');
  expect(objects['a/x.csv']).toBe('old');
  expect((await drive.upload('a/x.csv', file, false)).path).toBe('a/x.csv');
  expect(objects).toEqual({ 'a/x.csv': 'new', 'a/x (1).csv': 'older', 'a/x (2).csv': 'new' });
});
