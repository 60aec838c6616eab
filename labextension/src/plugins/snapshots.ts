/**
 * Our widgets in an output: the living one where its kernel runs, and the picture that it left where it does not.
 *
 * A widget of lk_jupyter is shown as a bundle of our own type beside HTML and text. The type of ipywidgets itself is
 * not in it: its renderer says "model not found" for one whose kernel is gone, and draws it anew at each update.
 */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Panel } from '@lumino/widgets';

const OURS = 'application/vnd.lk-jupyter.view+json';
const LIVING = 'application/vnd.jupyter.widget-view+json';
const PICTURE = 'text/html';

class Snapshot extends Panel implements IRenderMime.IRenderer {
  private readonly picture: IRenderMime.IRenderer;
  private readonly living: IRenderMime.IRenderer | null;
  private readonly observer: MutationObserver;
  private shown: string | null = null;

  constructor(rendermime: IRenderMimeRegistry) {
    super();
    this.addClass('lk-jupyter-view');
    this.picture = rendermime.createRenderer(PICTURE);
    this.living = rendermime.mimeTypes.includes(LIVING) ? rendermime.createRenderer(LIVING) : null;
    this.observer = new MutationObserver(() => this.choose());
    this.addWidget(this.picture);
    if (this.living) {
      this.living.hide();
      this.addWidget(this.living);
      this.observer.observe(this.living.node, { childList: true });
    }
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    await this.picture.renderModel(model);
    const { model_id } = model.data[OURS] as { model_id: string };
    if (this.living && model.trusted && this.shown !== model_id) {
      this.shown = model_id;
      const data = { [LIVING]: { model_id, version_major: 2, version_minor: 0 } };
      await this.living.renderModel(new MimeModel({ data, trusted: true }));
      this.choose();
    }
  }

  dispose(): void {
    this.observer.disconnect();
    super.dispose();
  }

  /** The living widget is there when its renderer holds an element: its "model not found" is bare text. */
  private choose(): void {
    const lives = !!this.living?.node.firstElementChild;
    this.living?.setHidden(!lives);
    this.picture.setHidden(lives);
  }
}

function show({ content: { rendermime } }: NotebookPanel): void {
  rendermime.addFactory({ safe: true, mimeTypes: [OURS], createRenderer: () => new Snapshot(rendermime) }, -20);
}

export const snapshots: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:snapshots',
  description: 'Shows the last state of a widget whose kernel is gone.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, notebooks: INotebookTracker) => {
    notebooks.forEach(show);
    notebooks.widgetAdded.connect((_, notebook) => show(notebook));
  }
};
