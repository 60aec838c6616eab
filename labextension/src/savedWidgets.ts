/**
 * Widgets that are saved in a notebook: ipywidgets creates their models when the notebook is opened, trusted or not, and
 * the state of some models is code. In their place it gets a gate, which decides what is restored, and when.
 */
import type { INotebookModel, INotebookTracker } from '@jupyterlab/notebook';
import { UUID } from '@lumino/coreutils';

/** The name of our widgets for ipywidgets. npm allows no such name, so no CDN has a package of it. */
export const MODULE = '_lk-jupyter';
export const MODULE_VERSION = '1.0.0';

const METADATA_KEY = 'widgets';
const STATE = 'application/vnd.jupyter.widget-state+json';

/** Models by their ids, as the file of a notebook has them. */
export interface SavedState {
  version_major: number;
  version_minor: number;
  state: Record<string, unknown>;
}

/** What a gate holds back, and asks for trust. */
export interface GatedWidgets {
  saved: SavedState;
  notebook: INotebookModel;
  notebooks: INotebookTracker;
  onTrust: (panelId: string) => void;
}

/** What gates hold back, by a key that no notebook can contain. */
export const gates = new Map<string, GatedWidgets>();

/** Give ipywidgets a gate in place of the widgets that a notebook was saved with. */
export function holdBack(notebook: INotebookModel, rest: Pick<GatedWidgets, 'notebooks' | 'onTrust'>): void {
  const read = notebook.getMetadata.bind(notebook);
  notebook.getMetadata = (key: string) => {
    const metadata = read(key) as Record<string, unknown> | undefined;
    const saved = key === METADATA_KEY ? (metadata?.[STATE] as SavedState | undefined) : undefined;
    return saved?.state ? makeGate({ saved, notebook, ...rest }) : metadata;
  };
}

function makeGate(widgets: GatedWidgets): unknown {
  const key = UUID.uuid4();
  gates.set(key, widgets);
  const model = { model_name: 'Gate', model_module: MODULE, model_module_version: MODULE_VERSION, state: { key } };
  return { [STATE]: { version_major: 2, version_minor: 0, state: { [UUID.uuid4()]: model } } };
}
