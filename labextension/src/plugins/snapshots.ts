/**
 * Our widgets in an output: the living one where its kernel runs, and the picture that it left where it does not.
 *
 * A widget of lk_jupyter is shown as HTML and text; the metadata of the output names the widget. The type of ipywidgets
 * is not in it: its renderer says "model not found" for one whose kernel is gone, and draws it anew at each update.
 */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry, MimeModel, RenderedHTML } from '@jupyterlab/rendermime';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Panel, PanelLayout } from '@lumino/widgets';

import { isId } from '../runs';

const LIVING = 'application/vnd.jupyter.widget-view+json';
const PICTURE = 'text/html';
const RANK = 50; // that of the renderer of HTML

/** Milliseconds after which a widget is looked for again that is not there: ipywidgets may be ready later than the page. */
const LOOKS = [500, 1000, 2000, 4000, 8000, 15_000];

/** The widget that an output shows. */
function viewIn(metadata: unknown): string | null {
  const view = (metadata as { lk_jupyter?: { view?: unknown } } | null)?.lk_jupyter?.view;
  return isId(view) ? view : null;
}

/** Draws HTML as Lab does, and in its place the living widget of an output that has one. */
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

  /** Show the living widget; a renderer that was made before ipywidgets was ready never finds it, so another is made. */
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
      // One that was made before ipywidgets was ready never ends, or fails once another has taken its place.
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

  /** The living widget is there when its renderer holds our view: "model not found" and saved state are bare text. */
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
  description: 'Shows the last state of a widget whose kernel is gone.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, notebooks: INotebookTracker) => {
    notebooks.forEach(show);
    notebooks.widgetAdded.connect((_, notebook) => show(notebook));
  }
};
