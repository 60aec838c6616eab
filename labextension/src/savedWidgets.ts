/**
 * A gate for widgets saved in a notebook. ipywidgets creates their models when a notebook opens, with or without trust,
 * and the state of some models is code. Instead, ipywidgets gets a gate, which decides when to restore which models.
 */
import type { INotebookModel, INotebookTracker } from '@jupyterlab/notebook';
import { UUID } from '@lumino/coreutils';

/** Module name of our widgets in ipywidgets. npm allows no such name, so no CDN can serve such a package. */
export const MODULE = '_lk-jupyter';
export const MODULE_VERSION = '1.0.0';

const METADATA_KEY = 'widgets';
const STATE = 'application/vnd.jupyter.widget-state+json';

/** Id → model, as in the file of a notebook. */
export interface SavedState {
  version_major: number;
  version_minor: number;
  state: Record<string, unknown>;
}

/** Widgets behind a gate, and the function that opens the trust dialog. */
export interface GatedWidgets {
  saved: SavedState;
  notebook: INotebookModel;
  notebooks: INotebookTracker;
  onTrust: (panelId: string) => void;
}

/** Widgets behind gates, by keys that no notebook can contain. */
export const gates = new Map<string, GatedWidgets>();

/** Give ipywidgets a gate in place of the widgets saved in a notebook. */
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
