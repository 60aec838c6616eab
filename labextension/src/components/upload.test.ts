import { expect, test } from 'vitest';

import { PIECE, upload } from './upload';

/** A kernel that records requests. */
function kernel(answer: object = { id: 'one' }) {
  const actions: string[] = [];
  const ask = <R>(action: string): Promise<R> => {
    actions.push(action);
    return Promise.resolve((action === 'begin_upload' ? answer : undefined) as R);
  };
  return { actions, ask };
}

const how = (signal = new AbortController().signal) => {
  const shares: number[] = [];
  return { shares, conflict: 'ask' as const, report: (share: number) => void shares.push(share), signal };
};

/** jsdom's Blob has no arrayBuffer. */
const file = (size: number, fails = false) =>
  ({
    size,
    slice: () => ({
      arrayBuffer: () => (fails ? Promise.reject(new Error('no')) : Promise.resolve(new ArrayBuffer(1)))
    })
  }) as unknown as Blob;

test('a file goes in pieces, and an empty one without any', async () => {
  const { actions, ask } = kernel();
  const watched = how();
  expect(await upload(file(PIECE + 1), 'k', ask, watched)).toBe('stored');
  expect(actions).toEqual(['begin_upload', 'add_piece', 'add_piece', 'end_upload']);
  expect(watched.shares.at(-1)).toBe(1);
  const other = kernel();
  await upload(file(0), 'k', other.ask, how());
  expect(other.actions).toEqual(['begin_upload', 'end_upload']);
});

test('what is there already is not replaced unasked', async () => {
  const { actions, ask } = kernel({ taken: true });
  expect(await upload(file(1), 'k', ask, how())).toBe('taken');
  expect(actions).toEqual(['begin_upload']);
});

test('one that is stopped or cannot be read is not stored', async () => {
  const stopped = kernel();
  expect(await upload(file(1), 'k', stopped.ask, how(AbortSignal.abort()))).toBe('stopped');
  expect(stopped.actions.at(-1)).toBe('stop_upload');
  const broken = kernel();
  await expect(upload(file(1, true), 'k', broken.ask, how())).rejects.toThrow('no');
  expect(broken.actions.at(-1)).toBe('stop_upload');
});
