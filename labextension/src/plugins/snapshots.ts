/**
 * Our widgets in an output: the living widget while its kernel runs, otherwise the saved picture.
 *
 * The output contains HTML and text, and its metadata the id of the widget. The MIME type of ipywidgets is missing on
 * purpose: its renderer shows "model not found" without a kernel, and draws the widget again at each update.
 */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, MimeModel, RenderedHTML } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Panel, PanelLayout } from '@lumino/widgets';

import { isId } from '../runs';

const LIVING = 'application/vnd.jupyter.widget-view+json';
const PICTURE = 'text/html';
const RANK = 50; // same as the renderer of HTML

/** Milliseconds between two searches for a missing widget: ipywidgets may be ready later than the page. */
const LOOKS = [500, 1000, 2000, 4000, 8000, 15_000];

/** The widget that an output shows. */
function viewIn(metadata: unknown): string | null {
  const view = (metadata as { lk_jupyter?: { view?: unknown } } | null)?.lk_jupyter?.view;
  return isId(view) ? view : null;
}

/** Draw HTML as Lab does, or the living widget of an output if there is one. */
class Html extends RenderedHTML {
  private snapshot: Snapshot | null = null;

  constructor(
    options: IRenderMime.IRendererOptions,
    private readonly rendermime: IRenderMimeRegistry
  ) {
    super(options);
    this.options = options;
  }

  private readonly options: IRenderMime.IRendererOptions;

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const view = viewIn(model.metadata);
    if (!view) {
      this.snapshot?.dispose();
      this.snapshot = null;
      return super.renderModel(model);
    }
    if (!this.snapshot) {
      this.snapshot = new Snapshot(this.rendermime, new RenderedHTML(this.options));
      this.layout ??= new PanelLayout();
      (this.layout as PanelLayout).addWidget(this.snapshot);
    }
    await this.snapshot.render(model, view);
  }
}

class Snapshot extends Panel {
  private living: IRenderMime.IRenderer | null = null;
  private readonly observer = new MutationObserver(() => this.choose());
  private drawnText: string | null = null;
  private clock = 0;

  constructor(
    private readonly rendermime: IRenderMimeRegistry,
    private readonly picture: IRenderMime.IRenderer
  ) {
    super();
    this.addClass('lk-jupyter-view');
    this.addWidget(this.picture);
  }

  async render(model: IRenderMime.IMimeModel, view: string): Promise<void> {
    await this.picture.renderModel(model);
    if (model.trusted && this.drawnText !== view) {
      this.drawnText = view;
      this.look(view, 0);
    }
  }

  dispose(): void {
    window.clearTimeout(this.clock);
    this.observer.disconnect();
    super.dispose();
  }

  /**
   * Show the living widget. A renderer from before ipywidgets was ready never finds the widget, so a new renderer is
   * created.
   */
  private look(view: string, tries: number): void {
    if (this.isDisposed || this.lives || view !== this.drawnText) {
      return;
    }
    if (this.rendermime.mimeTypes.includes(LIVING)) {
      this.living?.dispose();
      this.observer.disconnect();
      this.living = this.rendermime.createRenderer(LIVING);
      this.living.hide();
      this.addWidget(this.living);
      this.observer.observe(this.living.node, { childList: true, subtree: true, attributeFilter: ['class'] });
      const data = { [LIVING]: { model_id: view, version_major: 2, version_minor: 0 } };
      const { living } = this;
      // an earlier renderer never finishes, or fails after a newer renderer has replaced it
      void living.renderModel(new MimeModel({ data, trusted: true })).then(
        () => this.choose(),
        (failure: unknown) => {
          if (!living.isDisposed) {
            throw failure;
          }
        }
      );
    }
    if (tries < LOOKS.length) {
      this.clock = window.setTimeout(() => this.look(view, tries + 1), LOOKS[tries]);
    }
  }

  /** The living widget exists if its renderer contains our view: "model not found" and saved state are plain text. */
  private get lives(): boolean {
    return !!this.living?.node.querySelector('.lk');
  }

  private choose(): void {
    if (this.isDisposed) {
      return;
    }
    this.living?.setHidden(!this.lives);
    this.picture.setHidden(this.lives);
  }
}

function show({ content: { rendermime } }: NotebookPanel): void {
  const createRenderer = (options: IRenderMime.IRendererOptions) => new Html(options, rendermime);
  rendermime.addFactory({ safe: true, mimeTypes: [PICTURE], createRenderer }, RANK);
}

export const snapshots: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:snapshots',
  description: 'Shows the last state of a widget whose kernel has ended.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, notebooks: INotebookTracker) => {
    notebooks.forEach(show);
    notebooks.widgetAdded.connect((_, notebook) => show(notebook));
  }
};
