import { cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Chat, ChatProps } from './Chat';

afterEach(cleanup);

const done = () => Promise.resolve();
const turns = [
  { who: 'you', text: '<b>hi</b>', reasoning: '', facts: '' },
  { who: 'local/echo', text: 'You said hi', reasoning: 'short', facts: '7 + 5 tokens' }
];

function renderChat(props: Partial<ChatProps> = {}) {
  const all: ChatProps = {
    ...{ model: 'local/echo', models: ['local/echo', 'up/large'], turns: [], answering: false, spent: '' },
    ...{ onModel: vi.fn(), onAsk: vi.fn(done), onStop: vi.fn(done), onClear: vi.fn(done) },
    ...props
  };
  render(<Chat {...all} />);
  return all;
}

function typed(text: string) {
  const box = screen.getByLabelText('Question');
  fireEvent.input(box, { target: { value: text } });
  return box;
}

test('Enter asks, Shift Enter does not', () => {
  const { onAsk } = renderChat();
  const box = typed('hello');
  fireEvent.keyDown(box, { key: 'Enter', shiftKey: true });
  expect(onAsk).not.toHaveBeenCalled();
  fireEvent.keyDown(box, { key: 'Enter' });
  expect(onAsk).toHaveBeenCalledWith('hello');
});

test('a question that could not be asked stands there again', async () => {
  renderChat({ onAsk: () => Promise.reject(new Error('no')) });
  const box = typed('hello') as HTMLTextAreaElement;
  fireEvent.keyDown(box, { key: 'Enter' });
  await vi.waitFor(() => expect(box.value).toBe('hello'));
});

test('what was said is text, never markup', () => {
  renderChat({ turns });
  expect(screen.getByText('<b>hi</b>')).toBeTruthy();
  expect(screen.getByText('7 + 5 tokens')).toBeTruthy();
});

test('an answer is drawn from its Markdown, and what could run or load stays text', () => {
  const html =
    '<div><h1>Plan</h1><p>Use <strong>two</strong> GPUs <a href="https://example.com/x" onclick="hits()">here</a>' +
    '<a href="javascript:hits()">not</a><img src="https://example.com/a.png"><script>hits()</script></p>' +
    '<pre><code>print(1)</code></pre></div>';
  renderChat({ turns: [{ who: 'up/large', text: 'raw', html, reasoning: '', facts: '' }] });
  expect(screen.queryByText('raw')).toBeNull();
  expect(screen.getByText('two').tagName).toBe('STRONG');
  expect(screen.getByText('print(1)').closest('pre')).toBeTruthy();
  expect(screen.getByText('here').getAttribute('href')).toBe('https://example.com/x');
  expect(screen.getByText('here').getAttribute('onclick')).toBeNull();
  expect(screen.getByText('not').getAttribute('href')).toBeNull();
  expect(document.querySelector('.lk-marked img, .lk-marked script')).toBeNull();
});

test('code is copied with the button of its block, which says so', async () => {
  const writeText = vi.fn(done);
  vi.stubGlobal('navigator', { clipboard: { writeText } });
  const html = '<pre><code>a = 1\nb = 2</code></pre><pre><code>c = 3</code></pre>';
  renderChat({ turns: [{ who: 'up/large', text: 'raw', html, reasoning: '', facts: '' }] });
  fireEvent.click(screen.getByRole('button', { name: 'Copy the code: a = 1' }));
  expect(writeText).toHaveBeenCalledWith('a = 1\nb = 2');
  await vi.waitFor(() => expect(screen.getByText('Copied')).toBeTruthy());
  vi.unstubAllGlobals();
});

test('an answer that comes stays at its end only for who was there', () => {
  const scrollTo = vi.fn();
  Element.prototype.scrollTo = scrollTo;
  const props = { model: 'm', models: [], answering: true, spent: '', onModel: vi.fn() };
  const acts = { onAsk: vi.fn(done), onStop: vi.fn(done), onClear: vi.fn(done) };
  const drawn = (...texts: string[]) => (
    <Chat {...props} {...acts} turns={texts.map(text => ({ who: 'm', text, reasoning: '', facts: '' }))} />
  );
  const { rerender } = render(drawn('a'));
  const log = screen.getByRole('log');
  const sizes = { scrollHeight: 900, clientHeight: 400, scrollTop: 100 };
  Object.entries(sizes).forEach(([name, value]) => Object.defineProperty(log, name, { value, writable: true }));
  scrollTo.mockClear();
  rerender(drawn('a b'));
  expect(scrollTo).toHaveBeenCalledTimes(1);
  fireEvent.scroll(log);
  rerender(drawn('a b c'));
  expect(scrollTo).toHaveBeenCalledTimes(1);
  log.scrollTop = 490;
  fireEvent.scroll(log);
  rerender(drawn('a b c d'));
  expect(scrollTo).toHaveBeenCalledTimes(2);
  log.scrollTop = 0;
  fireEvent.scroll(log);
  rerender(drawn('a b c d', 'more'));
  expect(scrollTo).toHaveBeenLastCalledWith({ top: 900 });
});

test('Escape and the button stop an answer', () => {
  const { onStop } = renderChat({ turns, answering: true });
  fireEvent.keyDown(screen.getByLabelText('Question'), { key: 'Escape' });
  fireEvent.click(screen.getByText('Stop'));
  expect(onStop).toHaveBeenCalledTimes(2);
});

test('a deployment that no list names can be the model', () => {
  renderChat({ model: '3f0c' });
  expect((screen.getByLabelText('Model') as HTMLSelectElement).value).toBe('3f0c');
});
