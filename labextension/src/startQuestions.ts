/** Kernels that wait for permission to start a paid machine: the Jupyter server sends questions, a user answers. */
import type { Dialog } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { StartQuestionList } from './types';

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
  let hadQuestion = false;
  const connect = () => {
    const { WebSocket } = ServerConnection.makeSettings();
    const socket = new WebSocket(socketUrl());
    socket.onopen = () => {
      hasOpened = true;
      failures = 0;
    };
    let isClosed = false;
    socket.onmessage = async ({ data }) => {
      const { questions } = JSON.parse(data as string) as StartQuestionList;
      hadQuestion ||= questions.length > 0;
      if (hadQuestion) {
        const { updateDialogs } = await import('./startDialogs'); // at the first question, not when Lab starts
        if (!isClosed) {
          updateDialogs(dialogs, questions, answer => socket.send(JSON.stringify(answer)));
        }
      }
    };
    socket.onclose = () => {
      isClosed = true;
      dialogs.forEach(dialog => dialog.dispose());
      dialogs.clear();
      failures++;
      if (hasOpened || failures < MOST_FAILURES) {
        window.setTimeout(connect, Math.min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE));
      }
    };
  };
  connect();
}

function socketUrl(): string {
  const { wsUrl, token, appendToken } = ServerConnection.makeSettings();
  const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  const query = { ...(xsrf ? { _xsrf: decodeURIComponent(xsrf) } : {}), ...(appendToken && token ? { token } : {}) };
  return URLExt.join(wsUrl, 'lk', 'kernels', 'questions') + URLExt.objectToQueryString(query);
}
