/** The gate of saved widgets: open if the notebook is trusted; otherwise a notice. */
import type { ICodeCellModel } from '@jupyterlab/cells';
import type { INotebookModel, NotebookPanel } from '@jupyterlab/notebook';
import { PromiseDelegate } from '@lumino/coreutils';
import { Widget } from '@lumino/widgets';

import { gates, GatedWidgets, SavedState } from './savedWidgets';
import { trans } from './trans';

const VIEW = 'application/vnd.jupyter.widget-view+json';

/** The methods of a widget manager that the gate calls. */
interface Manager {
  has_model(id: string): boolean;
  set_state(state: never): Promise<unknown>;
}

/** Wait for trust, then restore the saved widgets. Widgets that no output shows are never restored. */
export async function passGate(key: unknown, manager: unknown): Promise<void> {
  const widgets = gates.get(String(key));
  gates.delete(String(key));
  if (widgets && (await waitForTrust(widgets))) {
    await restore(widgets.saved, manager as Manager);
  }
}

async function restore(saved: SavedState, manager: Manager): Promise<void> {
  const missing = Object.entries(saved.state).filter(([id]) => !manager.has_model(id)); // models of the kernel are newer
  await manager.set_state({ ...saved, state: Object.fromEntries(missing) } as never);
}

/**
 * Return true once every code cell is trusted, and false once no output shows a saved widget.
 *
 * Trust of an empty notebook isn't enough: Jupyter signs a notebook without outputs, whatever the state of its widgets.
 */
async function waitForTrust({ saved, notebook, notebooks, onTrust }: GatedWidgets): Promise<boolean> {
  const decided = new PromiseDelegate<boolean>();
  const watched = new Set<ICodeCellModel>();
  const look = () => {
    const cells = codeCells(notebook);
    for (const cell of cells.filter(each => !watched.has(each))) {
      watched.add(cell);
      cell.stateChanged.connect(look);
    }
    if (!cells.some(cell => shows(cell, saved))) {
      decided.resolve(false);
    } else if (cells.every(cell => cell.trusted)) {
      decided.resolve(true);
    } else {
      return true;
    }
    return false;
  };
  if (look()) {
    const notices = new Map<NotebookPanel, Widget>();
    const show = (panel: NotebookPanel) => {
      if (panel.context.model === notebook) {
        notices.set(panel, noticeIn(panel, onTrust));
      }
    };
    const onAdded = (_: unknown, panel: NotebookPanel) => show(panel);
    notebooks.forEach(show);
    notebooks.widgetAdded.connect(onAdded);
    notebook.cells.changed.connect(look);
    void decided.promise.then(() => {
      notebooks.widgetAdded.disconnect(onAdded);
      notebook.cells.changed.disconnect(look);
      notices.forEach(remove);
    });
  }
  const isTrusted = await decided.promise;
  watched.forEach(cell => cell.stateChanged.disconnect(look));
  return isTrusted;
}

function codeCells({ cells }: INotebookModel): ICodeCellModel[] {
  return [...cells].filter((cell): cell is ICodeCellModel => cell.type === 'code');
}

function shows({ outputs }: ICodeCellModel, { state }: SavedState): boolean {
  for (let at = 0; at < outputs.length; at++) {
    const output = outputs.get(at);
    if (output.type === 'display_data' || output.type === 'execute_result') {
      const id = (output.data[VIEW] as { model_id?: unknown } | undefined)?.model_id;
      if (typeof id === 'string' && Object.hasOwn(state, id)) {
        return true;
      }
    }
  }
  return false;
}

/** Show a notice above the cells. */
function noticeIn(panel: NotebookPanel, onTrust: (panelId: string) => void): Widget {
  const [node, text, button] = ['section', 'span', 'button'].map(tag => document.createElement(tag));
  node.setAttribute('aria-label', trans.__('Blocked widgets'));
  text.textContent = trans.__(
    "Saved widgets are blocked, because they can run code and you don't trust this notebook."
  );
  text.setAttribute('role', 'status');
  button.setAttribute('type', 'button');
  button.textContent = trans.__('Trust…');
  button.addEventListener('click', () => onTrust(panel.id));
  node.append(text, button);
  const notice = new Widget({ node });
  notice.addClass('lk');
  notice.addClass('lk-blocked-widgets');
  panel.contentHeader.addWidget(notice);
  return notice;
}

function remove(notice: Widget, panel: NotebookPanel): void {
  const hadFocus = notice.node.contains(document.activeElement);
  notice.dispose();
  if (hadFocus && !panel.isDisposed) {
    panel.content.activate();
  }
}
