/** Kernels on cloud machines: a machine starts after the user has seen its price and clicked Start. */
import { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { showStartQuestions } from '../startQuestions';
import { ICloud } from '../tokens';

export const kernels: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:kernels',
  description: 'Shows the price and asks you before a kernel starts a paid machine.',
  autoStart: true,
  requires: [ICloud], // its plugin chooses the language
  activate: () => showStartQuestions()
};
