/** Kernels that wait for permission to start a paid machine: the Jupyter server sends questions, a user answers. */
import { Dialog } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { credits, limitLabel, unturned } from './format';
import { trans } from './trans';
import { StartAnswer, StartQuestion, StartQuestionList } from './types';

/** Milliseconds before a new connection after a lost connection, doubled each time up to the second value. */
const PAUSE = 1000;
const LONGEST_PAUSE = 60_000;

/** Connections that may fail before the first success: a server without our extension has no such route. */
const MOST_FAILURES = 5;

/** Show each question while the kernel waits, and stay connected while the page is open. */
export function showStartQuestions(): void {
  const dialogs = new Map<string, Dialog<unknown>>();
  let failures = 0;
  let hasOpened = false;
  const connect = () => {
    const { WebSocket } = ServerConnection.makeSettings();
    const socket = new WebSocket(socketUrl());
    socket.onopen = () => {
      hasOpened = true;
      failures = 0;
    };
    socket.onmessage = ({ data }) => {
      const { questions } = JSON.parse(data as string) as StartQuestionList;
      update(dialogs, questions, answer => socket.send(JSON.stringify(answer)));
    };
    socket.onclose = () => {
      update(dialogs, [], () => undefined);
      failures++;
      if (hasOpened || failures < MOST_FAILURES) {
        window.setTimeout(connect, Math.min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE));
      }
    };
  };
  connect();
}

/** Open a dialog for each new question, and close dialogs of questions that were answered elsewhere. */
function update(
  dialogs: Map<string, Dialog<unknown>>,
  questions: StartQuestion[],
  send: (answer: StartAnswer) => void
): void {
  const waiting = new Set(questions.map(({ id }) => id));
  for (const [id, dialog] of dialogs) {
    if (!waiting.has(id)) {
      dialogs.delete(id);
      dialog.dispose();
    }
  }
  for (const question of questions.filter(({ id }) => !dialogs.has(id))) {
    const dialog = new Dialog(startDialog(question));
    dialogs.set(question.id, dialog);
    void dialog.launch().then(
      ({ button }) => {
        if (dialogs.get(question.id) === dialog) {
          send({ id: question.id, start: button.accept });
        }
      },
      () => undefined // closed without an answer of this page
    );
  }
}

/** Return the content of a dialog: machine, notebook and cost. A key press meant for a cell gives no permission. */
export function startDialog(question: StartQuestion) {
  return {
    title: question.notebook
      ? trans.__('Start %1 for “%2”?', question.name, unturned(question.notebook))
      : trans.__('Start %1?', question.name),
    body: startWords(question).join(' '),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Start') })],
    defaultButton: 0
  };
}

/** Return the cost of a start, in sentences. */
export function startWords({ price_per_hour, highest_cost, idle_minutes }: StartQuestion): string[] {
  const price =
    price_per_hour === null
      ? trans.__('The price of this machine is unknown.')
      : highest_cost === null
        ? trans.__('The machine costs %1 credits per hour.', String(Number(price_per_hour)))
        : trans.__(
            'The machine costs %1 credits per hour, and at most %2 credits in total.',
            String(Number(price_per_hour)),
            credits(Number(highest_cost))
          );
  return [
    trans.__('The kernel runs on a cloud machine.'),
    price,
    trans.__('The machine is released, and billing ends, after %1 without work.', limitLabel(60 * idle_minutes)),
    trans.__('If you click Cancel, the notebook stays open without a kernel.')
  ];
}

function socketUrl(): string {
  const { wsUrl, token, appendToken } = ServerConnection.makeSettings();
  const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  const query = { ...(xsrf ? { _xsrf: decodeURIComponent(xsrf) } : {}), ...(appendToken && token ? { token } : {}) };
  return URLExt.join(wsUrl, 'lk', 'kernels', 'questions') + URLExt.objectToQueryString(query);
}
