import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import { ReactElement } from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Observer } from '../labMock';
import { Listener } from '../stream';
import { RunDocument } from './RunDocument';

vi.mock('@lumino/widgets', () => import('../labMock'));
vi.mock('uplot', () => ({ default: class {} }));
vi.mock('../request', async original => ({
  ...(await original<object>()),
  request: async () => ({ execution_id: 'e1', status: 'running', file_name: 'cell.py' })
}));
vi.mock('../stream', () => ({
  follow: (_: string, __: object, listener: Listener) => {
    listener.onDisplay({ kind: 'display', data: { 'text/plain': 'a figure' } });
    return new Promise(() => undefined);
  }
}));
vi.stubGlobal('ResizeObserver', Observer);

afterEach(cleanup);

const signal = { connect: () => true, disconnect: () => true };
const cloud = { data: { status: {}, machines: {} }, runs: {}, changed: signal, refresh: () => Promise.resolve() };
vi.stubGlobal('IntersectionObserver', Observer);

function drawn(execute: () => Promise<unknown>): RunDocument {
  const document = new RunDocument('e1', cloud as never, { execute } as never, {} as never);
  render((document as unknown as { render: () => ReactElement }).render() as never);
  return document;
}

test('that a run could not be stopped is told', async () => {
  drawn(() => Promise.reject(new Error('The cloud is out of reach.')));
  fireEvent.click(await screen.findByRole('button', { name: 'Abort the run' }));
  expect(await screen.findByText(/The cloud is out of reach/)).toBeTruthy();
});

test('the tab of the document has the name of the run, and that of the result counts what it shows', async () => {
  const document = drawn(() => Promise.resolve());
  expect(await screen.findByText('Result (1)')).toBeTruthy();
  expect(document.title.label).toBe('cell.py · e1');
});
