import { beforeEach, expect, test, vi } from 'vitest';

import { startWords } from './startDialogs';
import { showStartQuestions } from './startQuestions';
import type { StartQuestion } from './types';

const lab = vi.hoisted(() => ({ dialogs: [] as any[], sockets: [] as any[] }));

// Lab's own parts need more of a browser than these tests have
vi.mock('@jupyterlab/apputils', () => ({
  Dialog: class {
    static cancelButton = () => ({ label: 'Cancel', accept: false });
    static okButton = ({ label }: { label: string }) => ({ label, accept: true });
    isDisposed = false;
    click!: (accept: boolean) => void;
    constructor(readonly options: { title: string; defaultButton: number; buttons: { accept: boolean }[] }) {
      lab.dialogs.push(this);
    }
    launch = () => new Promise(resolve => (this.click = accept => resolve({ button: { accept } })));
    dispose() {
      this.isDisposed = true;
    }
  }
}));
vi.mock('@jupyterlab/services', () => ({
  ServerConnection: {
    makeSettings: () => ({
      wsUrl: 'ws://lab/',
      token: 'secret',
      appendToken: true,
      WebSocket: class {
        answers: string[] = [];
        onopen?: () => void;
        onmessage?: (event: object) => Promise<void>;
        onclose?: () => void;
        constructor(readonly url: string) {
          lab.sockets.push(this);
        }
        send = (text: string) => this.answers.push(text);
      }
    })
  }
}));

const question: StartQuestion = {
  id: '1',
  name: 'A100',
  machine: 'gpu.a100',
  notebook: 'sent\u202e.ipynb',
  price_per_hour: '1.590',
  highest_cost: '5',
  idle_minutes: 20
};

function ask(...questions: StartQuestion[]): Promise<void> {
  return lab.sockets.at(-1).onmessage({ data: JSON.stringify({ questions }) });
}

beforeEach(() => {
  lab.dialogs.length = lab.sockets.length = 0;
  document.cookie = '_xsrf=2|a|b';
  showStartQuestions();
});

test('the page signs in and proves that no other site connects', () => {
  expect(lab.sockets[0].url).toBe('ws://lab/lk/kernels/questions?_xsrf=2%7Ca%7Cb&token=secret');
});

test('a question names machine and notebook, and Cancel is its first answer', async () => {
  await ask(question);
  await ask(question);
  expect(lab.dialogs).toHaveLength(1);
  const [dialog] = lab.dialogs;
  expect(dialog.options.title).toBe('Start A100 for “sent.ipynb”?');
  expect(dialog.options.buttons[dialog.options.defaultButton].accept).toBe(false);
  dialog.click(true);
  await vi.waitFor(() => expect(lab.sockets[0].answers).toEqual(['{"id":"1","start":true}']));
});

test('a question that was answered elsewhere closes, and a late click answers nothing', async () => {
  await ask(question);
  await ask();
  expect(lab.dialogs[0].isDisposed).toBe(true);
  lab.dialogs[0].click(true);
  await Promise.resolve();
  expect(lab.sockets[0].answers).toEqual([]);
});

test('a lost connection closes its questions and is made again', async () => {
  vi.useFakeTimers();
  lab.sockets[0].onopen();
  await ask(question);
  lab.sockets[0].onclose();
  expect(lab.dialogs[0].isDisposed).toBe(true);
  vi.advanceTimersByTime(1000);
  expect(lab.sockets).toHaveLength(2);
  vi.useRealTimers();
});

test('a server without the route is left alone', () => {
  vi.useFakeTimers();
  for (let number = 0; number < 20; number++) {
    lab.sockets.at(-1).onclose();
    vi.advanceTimersByTime(60_000);
  }
  expect(lab.sockets).toHaveLength(5);
  vi.useRealTimers();
});

test('the cost is written with what is known', () => {
  expect(startWords(question)[1]).toBe('The machine costs 1.59 credits per hour, and at most 5.00 credits in total.');
  expect(startWords({ ...question, highest_cost: null })[1]).toBe('The machine costs 1.59 credits per hour.');
  expect(startWords({ ...question, price_per_hour: null })[1]).toBe('The price of this machine is unknown.');
});
