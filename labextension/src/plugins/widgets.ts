/** The widgets of lk_jupyter in Lab, Notebook or Voila. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { IJupyterWidgetRegistry } from '@jupyter-widgets/base';

import { MODULE, MODULE_VERSION } from '../savedWidgets';

/** The package that ipywidgets shares; missing if ipywidgets isn't installed. */
const base = await import('@jupyter-widgets/base').catch(() => null);

export const widgets: JupyterFrontEndPlugin<void>[] = base
  ? [
      {
        id: 'lk-jupyter:widgets',
        description: 'Draws the widgets of lk_jupyter.',
        autoStart: true,
        requires: [base.IJupyterWidgetRegistry],
        activate: (_: JupyterFrontEnd, registry: IJupyterWidgetRegistry) =>
          registry.registerWidget({
            name: MODULE,
            version: MODULE_VERSION,
            exports: async () => (await import('../widgetModule')).classes
          })
      }
    ]
  : [];
