/** Buttons for the question before a cell sends variables; each gives the answer that a terminal takes as a letter. */
import { trans } from './trans';

/** How the question ends; the kernel has it too (lk_jupyter/magics/_engine/sync_question.py). */
const KEYS = /(\[a\]lways in this notebook, )?\[o\]nce, (\[k\]eep the machine, )?\[f\]resh process: *$/;

/** Put buttons in place of the input of a question that waits in an output area. Other inputs stay. */
export function addAnswerButtons(area: HTMLElement): void {
  const stdin = [...area.querySelectorAll<HTMLElement>('.jp-Stdin')].pop();
  const prompt = stdin?.querySelector<HTMLElement>('.jp-Stdin-prompt');
  const input = stdin?.querySelector('input');
  // The kernel breaks long lines between words.
  const keys = KEYS.exec(prompt?.textContent?.replace(/\s+/g, ' ') ?? '');
  if (!stdin || !prompt || !input || !keys) {
    return;
  }
  const answers: [letter: string, label: string][] = [
    ...(keys[1] ? [['a', trans.__('Always in this notebook')] as [string, string]] : []),
    ['o', trans.__('Once')],
    ...(keys[2] ? [['k', trans.__('Keep the machine')] as [string, string]] : []),
    ['f', trans.__('Fresh process')]
  ];
  const question = keys.input.slice(0, keys.index).trim();
  prompt.firstChild!.textContent = question;
  input.hidden = true; // no focus: a key that was meant for a cell gives no permission
  stdin.classList.add('lk-hints', 'lk-sync-question');
  stdin.setAttribute('role', 'group');
  stdin.setAttribute('aria-label', question);
  stdin.append(...answers.map(([letter, label]) => answerButton(input, letter, label)));
}

function answerButton(input: HTMLInputElement, letter: string, label: string): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = label;
  button.addEventListener('click', () => {
    input.value = letter;
    input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
  });
  return button;
}
