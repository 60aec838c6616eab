/**
 * Widgets that are saved in a notebook: ipywidgets creates their models when the notebook is opened, trusted or not, and
 * the state of some models is code. Here they wait until the user trusts the notebook.
 */
import type { ICodeCellModel } from '@jupyterlab/cells';
import type { INotebookModel } from '@jupyterlab/notebook';
import { PromiseDelegate, ReadonlyJSONObject, UUID } from '@lumino/coreutils';
import { ISignal, Signal } from '@lumino/signaling';

/** The name of our widgets for ipywidgets. npm allows no such name, so no CDN has a package of it. */
export const MODULE = '_lk-jupyter';
export const MODULE_VERSION = '1.0.0';

const METADATA_KEY = 'widgets';
const STATE = 'application/vnd.jupyter.widget-state+json';
const VIEW = 'application/vnd.jupyter.widget-view+json';

type Models = Record<string, unknown>;
type Saved = { version_major: number; version_minor: number; state: Models };

/** What the gate needs of a widget manager. */
interface Manager {
  has_model(id: string): boolean;
  set_state(state: never): Promise<unknown>;
}

/** Gates that wait, by a key that no notebook can contain. */
const gates = new Map<string, (manager: Manager) => Promise<unknown>>();

/** Wait at a gate, then restore what it holds back; a key of another origin opens nothing. */
export async function passGate(key: unknown, manager: unknown): Promise<void> {
  await gates.get(String(key))?.(manager as Manager);
}

/** Holds back the saved widgets of one notebook. */
export class SavedWidgets {
  private readonly changed_ = new Signal<this, void>(this);
  private readonly trusted = new PromiseDelegate<void>();
  private readonly watched = new Set<ICodeCellModel>();
  private models: Models | null = null;
  /** Whether outputs show saved widgets that wait for trust. */
  isBlocked = false;

  constructor(private readonly notebook: INotebookModel) {
    const read = notebook.getMetadata.bind(notebook);
    notebook.getMetadata = (key: string) => (key === METADATA_KEY ? this.readable(read(key)) : (read(key) as unknown));
  }

  get changed(): ISignal<this, void> {
    return this.changed_;
  }

  /** Return what ipywidgets may read now: the saved state if it is trusted, a gate if it may become so. */
  private readable(metadata: unknown): unknown {
    const saved = (metadata as ReadonlyJSONObject | undefined)?.[STATE] as unknown as Saved | undefined;
    if (!saved?.state) {
      return metadata;
    }
    this.models = saved.state;
    this.look();
    return this.isBlocked ? this.gate(saved) : this.isTrusted ? metadata : undefined;
  }

  private gate(saved: Saved): unknown {
    const key = UUID.uuid4();
    gates.set(key, async manager => {
      await this.trusted.promise;
      gates.delete(key);
      const missing = Object.entries(saved.state).filter(([id]) => !manager.has_model(id));
      await manager.set_state({ ...saved, state: Object.fromEntries(missing) } as never);
    });
    this.watch();
    const model = { model_name: 'Gate', model_module: MODULE, model_module_version: MODULE_VERSION, state: { key } };
    return { [STATE]: { version_major: 2, version_minor: 0, state: { [UUID.uuid4()]: model } } };
  }

  private get cells(): ICodeCellModel[] {
    return [...this.notebook.cells].filter((cell): cell is ICodeCellModel => cell.type === 'code');
  }

  /**
   * Whether every code cell is trusted, and one of them shows a saved widget.
   *
   * Jupyter also signs a notebook without outputs, whoever wrote the state of its widgets.
   */
  private get isTrusted(): boolean {
    return this.cells.every(cell => cell.trusted) && this.cells.some(cell => this.shows(cell));
  }

  private shows(cell: ICodeCellModel): boolean {
    for (let at = 0; at < cell.outputs.length; at++) {
      const output = cell.outputs.get(at);
      if (output.type === 'display_data' || output.type === 'execute_result') {
        const id = (output.data[VIEW] as { model_id?: unknown } | undefined)?.model_id;
        if (typeof id === 'string' && Object.hasOwn(this.models!, id)) {
          return true;
        }
      }
    }
    return false;
  }

  private look(): void {
    const isBlocked = !this.isTrusted && this.cells.some(cell => this.shows(cell));
    if (isBlocked !== this.isBlocked) {
      this.isBlocked = isBlocked;
      this.changed_.emit();
    }
    if (this.isTrusted) {
      this.trusted.resolve();
    }
  }

  private watch(): void {
    const watchCells = () => {
      for (const cell of this.cells.filter(each => !this.watched.has(each))) {
        this.watched.add(cell);
        cell.stateChanged.connect(() => this.look());
      }
      this.look();
    };
    this.notebook.cells.changed.connect(watchCells);
    watchCells();
  }
}
