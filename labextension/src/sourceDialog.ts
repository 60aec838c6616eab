/** A question that shows complete source code before the code runs, as text that can't hide a part of itself. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import '../style/panel.css';
import { trans } from './trans';

/** Invisible characters, characters that change the direction of text, and characters that look like a space. */
const UNSEEN = /(?![\t\n ])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** Return source code as an element in which each character is visible: invisible characters appear as numbers. */
export function drawnSource(source: string): HTMLPreElement {
  const box = document.createElement('pre');
  box.className = 'lk-source';
  box.tabIndex = 0;
  let end = 0;
  for (const { 0: sign, index } of source.matchAll(UNSEEN)) {
    const mark = document.createElement('mark');
    mark.textContent = `U+${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
    box.append(source.slice(end, index), mark);
    end = index + sign.length;
  }
  box.append(source.slice(end));
  return box;
}

/** Prompt before source code runs or is inserted. The words give the reason and the consequences. */
export async function askWithSource(title: string, words: string[], sources: string[], verb: string): Promise<boolean> {
  const node = document.createElement('div');
  node.className = 'lk-source-question';
  const text = document.createElement('p');
  text.textContent = words.join(' ');
  node.append(text);
  for (const source of sources) {
    const lines = source.split('\n').length;
    const box = drawnSource(source);
    const caption = document.createElement('div');
    caption.textContent = trans._n('Source, %1 line', 'Source, %1 lines', lines);
    box.setAttribute('aria-label', caption.textContent);
    node.append(caption, box);
  }
  const { button } = await showDialog({
    title,
    body: new Widget({ node }),
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: verb })],
    defaultButton: 0
  });
  return button.accept;
}
