// @vitest-environment node (jsdom has no streams)
import { expect, test, vi } from 'vitest';

import { events, follow } from './stream';

const open = vi.hoisted(() => vi.fn());
vi.mock('./request', () => ({ open, Trouble: Error }));

function body(text: string, size: number): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  return new ReadableStream({
    start(control) {
      for (let at = 0; at < bytes.length; at += size) {
        control.enqueue(bytes.slice(at, at + size));
      }
      control.close();
    }
  });
}

test('events are read whole wherever they are cut, in a character too', async () => {
  const text = ':\n\ndata: {"output": "grün 🚀\\n"}\n\ndata: {"finished": {"return_code": 0, "error": null}}\n\n';
  for (const size of [1, 3, 7, 1000]) {
    const received = [];
    for await (const event of events(body(text, size))) {
      received.push(event);
    }
    expect(received).toEqual([{ output: 'grün 🚀\n' }, { finished: { return_code: 0, error: null } }]);
  }
});

test('a run whose end was sent has ended, though the connection breaks before the last curves', async () => {
  const finished = { return_code: 0, error: null };
  const parts = [`data: {"output": "one"}\n\ndata: ${JSON.stringify({ finished })}\n\n`];
  const encoder = new TextEncoder();
  const pull = (control: ReadableStreamDefaultController) =>
    parts.length ? control.enqueue(encoder.encode(parts.pop())) : control.error(new TypeError('network error'));
  open.mockResolvedValue(new Response(new ReadableStream({ pull })));
  const onEnd = vi.fn();
  const listener = { onOutput: vi.fn(), onDisplay: vi.fn(), onEnd };
  expect(await follow('3f0c', new AbortController().signal, listener)).toEqual(finished);
  expect(onEnd).toHaveBeenCalledWith(finished);
});
