/**
 * The header of a run in a cell, and the run saved in the notebook: correct after a reload, a restart, or in another
 * Lab.
 */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { PanelLayout, Widget } from '@lumino/widgets';

import { Cloud } from '../cloud';
import type { RunOutput, Tools } from '../panels/RunOutput';
import { toLabPath } from '../labPath';
import { RUN_MIME } from '../runs';
import { ICloud } from '../tokens';

/** Milliseconds between two updates of the notebooks. */
const PACE = 2000;

/** Rank before the renderers of HTML and text: the same output has both for other front ends. */
const RANK = 10;

const RESTARTS = new Set(['restarting', 'autorestarting', 'starting', 'terminating', 'dead']);

export const headers: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:headers',
  description: 'Shows the header of a run, with its correct state after a reload or restart.',
  autoStart: true,
  requires: [ICloud, IRenderMimeRegistry],
  optional: [INotebookTracker],
  activate: (
    app: JupyterFrontEnd,
    cloud: Cloud,
    rendermime: IRenderMimeRegistry,
    notebooks: INotebookTracker | null
  ) => {
    const [active, executed] = [new Set<string>(), new WeakSet<object>()];
    const tools: Tools = { app, cloud, notebooks, active, executed };
    rendermime.addFactory({ safe: true, mimeTypes: [RUN_MIME], createRenderer: () => new LazyOutput(tools) }, RANK);
    if (notebooks) {
      watch(notebooks, tools);
      window.setInterval(() => {
        if (!document.hidden) {
          notebooks
            .filter(panel => panel.isVisible && (hasRuns(panel) || hasActiveRun(panel, cloud)))
            .forEach(panel => void keepTrue(panel, tools));
        }
      }, PACE);
    }
  }
};

function watch(notebooks: INotebookTracker, tools: Tools): void {
  const { active, executed } = tools;
  NotebookActions.executionScheduled.connect((_, { cell }) => {
    active.add(cell.model.id);
    executed.add(cell.model);
  });
  NotebookActions.executed.connect((_, { cell }) => void active.delete(cell.model.id));
  const follow = (panel: NotebookPanel) => {
    const { content, sessionContext } = panel;
    sessionContext.connectionStatusChanged.connect((_, status) => {
      if (status !== 'connected' && active.size) {
        void import('../panels/RunOutput').then(({ leaveKernel }) => leaveKernel(panel, tools));
      }
    });
    // a restarted kernel reports no end of its cells
    sessionContext.statusChanged.connect((_, status) => {
      if (RESTARTS.has(status)) {
        content.widgets.forEach(({ model }) => {
          active.delete(model.id);
          executed.delete(model);
        });
      }
    });
  };
  notebooks.forEach(follow);
  notebooks.widgetAdded.connect((_, panel) => follow(panel));
}

/** An output that shows a run. */
class LazyOutput extends Widget implements IRenderMime.IRenderer {
  private output: RunOutput | null = null;

  constructor(private readonly tools: Tools) {
    super();
    this.layout = new PanelLayout();
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const { RunOutput } = await import('../panels/RunOutput');
    if (!this.isDisposed) {
      if (!this.output) {
        this.output = new RunOutput(this.tools);
        (this.layout as PanelLayout).addWidget(this.output);
      }
      await this.output.renderModel(model);
    }
  }
}

/** Return whether an output of a notebook shows a run. */
function hasRuns({ content }: NotebookPanel): boolean {
  return content.widgets.some(({ model }) => {
    const outputs = model.type === 'code' ? (model as CodeCell['model']).outputs : null;
    return Array.from({ length: outputs?.length ?? 0 }, (_, at) => outputs!.get(at)).some(
      ({ data }) => RUN_MIME in data
    );
  });
}

/** Return whether the journal of this machine has an active run of a notebook. */
function hasActiveRun({ context }: NotebookPanel, { data }: Cloud): boolean {
  return !!data.journal?.runs?.some(
    ({ going_on, notebook }) => going_on && notebook && toLabPath(notebook) === context.path
  );
}

async function keepTrue(panel: NotebookPanel, tools: Tools): Promise<void> {
  (await import('../panels/RunOutput')).keepTrue(panel, tools);
}
