// @vitest-environment node (jsdom has no streams)
import { expect, test } from 'vitest';

import { events } from './stream';

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
