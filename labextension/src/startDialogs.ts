/** The dialogs in which a user permits the start of a paid machine. */
import { Dialog } from '@jupyterlab/apputils';

import { credits, limitLabel, unturned } from './format';
import { trans } from './trans';
import { StartAnswer, StartQuestion } from './types';

/** Open a dialog for each new question, and close dialogs of questions that were answered elsewhere. */
export function updateDialogs(
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
