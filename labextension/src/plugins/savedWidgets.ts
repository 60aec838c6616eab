/** A guard before the widgets that a notebook was saved with. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Widget } from '@lumino/widgets';

import { SavedWidgets } from '../savedWidgets';
import { trans } from '../trans';

export const savedWidgets: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:saved-widgets',
  description: 'Blocks the saved widgets of a notebook, which can contain code, until the notebook is trusted.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (app: JupyterFrontEnd, notebooks: INotebookTracker) => {
    const guarded = new WeakMap<object, SavedWidgets>();
    const watch = (panel: NotebookPanel) => {
      const { model } = panel.context;
      const saved = guarded.get(model) ?? new SavedWidgets(model);
      guarded.set(model, saved);
      showNotice(app, panel, saved);
    };
    notebooks.forEach(watch);
    notebooks.widgetAdded.connect((_, panel) => watch(panel));
  }
};

/** Show a notice above the cells while saved widgets are blocked. */
function showNotice(app: JupyterFrontEnd, panel: NotebookPanel, saved: SavedWidgets): void {
  let notice: Widget | null = null;
  const draw = () => {
    if (saved.isBlocked && !notice) {
      notice = noticeOf(() => trust(app, panel));
      panel.contentHeader.addWidget(notice);
    } else if (!saved.isBlocked && notice) {
      const hadFocus = notice.node.contains(document.activeElement);
      notice.dispose();
      notice = null;
      if (hadFocus) {
        panel.content.activate();
      }
    }
  };
  draw();
  saved.changed.connect(draw);
  panel.disposed.connect(() => saved.changed.disconnect(draw));
}

function noticeOf(onTrust: () => void): Widget {
  const [node, text, button] = ['section', 'span', 'button'].map(tag => document.createElement(tag));
  node.setAttribute('aria-label', trans.__('Blocked widgets'));
  text.textContent = trans.__('Saved widgets are blocked: they can run code, and this notebook isn’t trusted.');
  text.setAttribute('role', 'status');
  button.setAttribute('type', 'button');
  button.textContent = trans.__('Trust…');
  button.addEventListener('click', onTrust);
  node.append(text, button);
  const notice = new Widget({ node });
  notice.addClass('lk');
  notice.addClass('lk-blocked-widgets');
  return notice;
}

/** Ask as Lab does, which then signs the notebook. */
function trust(app: JupyterFrontEnd, panel: NotebookPanel): void {
  app.shell.activateById(panel.id);
  void app.commands.execute('notebook:trust');
}
