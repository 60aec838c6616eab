/**
 * The classes that ipywidgets instantiates for us: a model, a view for each component, and the gate of saved widgets.
 */
import { DOMWidgetModel, DOMWidgetView, IWidgetManager, WidgetModel } from '@jupyter-widgets/base';

import { passGate } from './widgetGate';
import { trans } from './trans';
import type { Model as ComponentModel } from './widgets/view';

type Component = { render: (place: { model: ComponentModel; el: HTMLElement }) => () => void };
type Load = () => Promise<{ default: Component }>;

/** Load a component when a page first shows the component. */
function createView(load: Load): typeof DOMWidgetView {
  return class extends DOMWidgetView {
    private end: (() => void) | undefined;
    private isRemoved = false;

    async render(): Promise<void> {
      if (!this.model.comm_live) {
        this.el.textContent = trans.__('Rerun the cell to use this widget.'); // saved state: neither drawn nor active
        return;
      }
      const { default: component } = await load();
      if (!this.isRemoved) {
        this.end = component.render({ model: this.model as unknown as ComponentModel, el: this.el });
      }
    }

    remove(): unknown {
      this.isRemoved = true;
      this.end?.();
      return super.remove();
    }
  };
}

/** Wait for the user's trust, then restore the saved widgets of the notebook. */
class Gate extends WidgetModel {
  static async _deserialize_state(state: { key?: unknown }, manager: IWidgetManager): Promise<Record<string, never>> {
    await passGate(state.key, manager);
    return {};
  }
}

/** Component → view, by the names of `component` in the Python classes. */
export const classes = {
  Gate,
  Model: DOMWidgetModel,
  balance: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/balance')),
  chat: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/chat')),
  form: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/form')),
  login: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/login')),
  machine_picker: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/machine_picker')),
  once: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/once')),
  run_metrics: createView(() => import(/* webpackChunkName: "watch" */ './widgets/run_metrics')),
  run_view: createView(() => import(/* webpackChunkName: "watch" */ './widgets/run_view')),
  runs: createView(() => import(/* webpackChunkName: "watch" */ './widgets/runs')),
  storage_browser: createView(() => import(/* webpackChunkName: "widgets" */ './widgets/storage_browser'))
};
