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

function shown(props: Partial<ChatProps> = {}) {
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
  const { onAsk } = shown();
  const box = typed('hello');
  fireEvent.keyDown(box, { key: 'Enter', shiftKey: true });
  expect(onAsk).not.toHaveBeenCalled();
  fireEvent.keyDown(box, { key: 'Enter' });
  expect(onAsk).toHaveBeenCalledWith('hello');
});

test('a question that could not be asked stands there again', async () => {
  shown({ onAsk: () => Promise.reject(new Error('no')) });
  const box = typed('hello') as HTMLTextAreaElement;
  fireEvent.keyDown(box, { key: 'Enter' });
  await vi.waitFor(() => expect(box.value).toBe('hello'));
});

test('what was said is text, never markup', () => {
  shown({ turns });
  expect(screen.getByText('<b>hi</b>')).toBeTruthy();
  expect(screen.getByText('7 + 5 tokens')).toBeTruthy();
});

test('an answer is drawn from its Markdown, and what could run or load stays text', () => {
  const html =
    '<div><h1>Plan</h1><p>Use <strong>two</strong> GPUs <a href="https://example.com/x" onclick="hits()">here</a>' +
    '<a href="javascript:hits()">not</a><img src="https://example.com/a.png"><script>hits()</script></p>' +
    '<pre><code>print(1)</code></pre></div>';
  shown({ turns: [{ who: 'up/large', text: 'raw', html, reasoning: '', facts: '' }] });
  expect(screen.queryByText('raw')).toBeNull();
  expect(screen.getByText('two').tagName).toBe('STRONG');
  expect(screen.getByText('print(1)').closest('pre')).toBeTruthy();
  expect(screen.getByText('here').getAttribute('href')).toBe('https://example.com/x');
  expect(screen.getByText('here').getAttribute('onclick')).toBeNull();
  expect(screen.getByText('not').getAttribute('href')).toBeNull();
  expect(document.querySelector('.lk-marked img, .lk-marked script')).toBeNull();
});

test('Escape and the button stop an answer', () => {
  const { onStop } = shown({ turns, answering: true });
  fireEvent.keyDown(screen.getByLabelText('Question'), { key: 'Escape' });
  fireEvent.click(screen.getByText('Stop'));
  expect(onStop).toHaveBeenCalledTimes(2);
});

test('a deployment that no list names can be the model', () => {
  shown({ model: '3f0c' });
  expect((screen.getByLabelText('Model') as HTMLSelectElement).value).toBe('3f0c');
});
