/** Tooltips for the options and machines in the `%%lk_run` line of a cell. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { hoverTooltip } from '@codemirror/view';

import { Cloud } from '../cloud';
import { isRemote } from '../magicLine';
import { ICloud } from '../tokens';
import { trans } from '../trans';
import { MachineType } from '../types';

export const editor: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:editor',
  description: 'Explains the option or machine under the pointer in a %%lk_run line.',
  autoStart: true,
  requires: [ICloud, IEditorExtensionRegistry],
  activate: (_: JupyterFrontEnd, cloud: Cloud, extensions: IEditorExtensionRegistry) => {
    const help = hoverTooltip(async (view, at) => {
      const line = view.state.doc.lineAt(at);
      const [start, end] = wordAt(line.text, at - line.from);
      const words = isRemote(line.text) ? await helpFor(cloud, line.text.slice(start, end)) : '';
      return words
        ? { pos: line.from + start, end: line.from + end, above: true, create: () => ({ dom: drawn(words) }) }
        : null;
    });
    extensions.addExtension({
      name: 'lk-jupyter:help',
      factory: () => EditorExtensionRegistry.createImmutableExtension(help)
    });
  }
};

function wordAt(text: string, at: number): [number, number] {
  const start = text.slice(0, at).search(/[^\s="'|,]*$/);
  return [start, at + text.slice(at).search(/[\s="'|,]|$/)];
}

async function helpFor(cloud: Cloud, word: string): Promise<string> {
  const name = word.toLowerCase();
  const machine = cloud.data.machines?.machine_types.find(({ hardware_profile: profile }) =>
    [name, `gpu.${name}`].includes(profile.toLowerCase())
  );
  return machine ? priceWords(machine) : ((await import('../options')).RUN_OPTIONS[word] ?? '');
}

function priceWords({ hardware_profile: profile, price_per_hour: price }: MachineType): string {
  return price == null
    ? trans.__('%1: price unknown, may cost credits', profile)
    : trans.__('%1: %2 credits per hour', profile, price);
}

function drawn(words: string): HTMLElement {
  const node = document.createElement('div');
  node.className = 'lk-help';
  node.textContent = words;
  return node;
}
