/** The button of the machine menu in the toolbar of a notebook: its machine and price, and how busy the GPU is. */
import type { ICellModel } from '@jupyterlab/cells';
import { INotebookModel, NotebookPanel } from '@jupyterlab/notebook';
import { caretDownEmptyIcon, ReactWidget, ToolbarButtonComponent } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import { Menu } from '@lumino/widgets';
import React, { lazy, Suspense } from 'react';

import { Cloud } from './cloud';
import { machineName, priceLabel } from './format';
import { toLabPath } from './labPath';
import { isRemote } from './magicLine';
import { isMachine, mergeRuns } from './runs';
import { trans } from './trans';

/** Key of the chosen machine in the metadata of a notebook. */
const KEY = 'lk_jupyter';

const Sparklines = lazy(async () => ({ default: (await import('./components/Sparklines')).Sparklines }));

/** Return the machine that a notebook remembers. The notebook may come from a stranger: other values are ignored. */
export function chosenMachine(panel: NotebookPanel | null): string | undefined {
  const machine = (panel?.model?.getMetadata(KEY) as { machine?: unknown } | undefined)?.machine;
  return isMachine(machine) ? machine : undefined;
}

/** Notebooks whose machine the user chose on this page, or which were trusted when they were opened. */
const trusted = new WeakSet<INotebookModel>();

/** Store the machine in the metadata of a notebook. */
export function rememberMachine({ model }: NotebookPanel, machine: string): void {
  if (model) {
    trusted.add(model);
  }
  model?.setMetadata(KEY, { ...(model.getMetadata(KEY) as object | undefined), machine });
}

/** Record whether an opened notebook is trusted, so that its machine counts. A stranger's machine may be expensive. */
function recordTrust(model: INotebookModel | null): void {
  const code = [...(model?.cells ?? [])].filter(({ type }) => type === 'code');
  if (model && code.length && code.every(cell => cell.trusted)) {
    trusted.add(model);
  }
}

/** Report the machine of a notebook to its kernel before a `%%lk_run` cell, whose line may name no machine. */
export function reportMachine(panel: NotebookPanel, { sharedModel }: ICellModel): void {
  const machine = panel.model && trusted.has(panel.model) ? chosenMachine(panel) : undefined;
  const kernel = panel.sessionContext.session?.kernel;
  if (machine && kernel && isRemote(sharedModel.source)) {
    const report = "__import__('lk_jupyter.config.notebook_machine', fromlist=['_']).report_machine";
    const code = `${report}(${JSON.stringify(sharedModel.getId())}, ${JSON.stringify(machine)})`;
    const request = kernel.requestExecute({ code, silent: true, store_history: false, stop_on_error: false });
    request.done.catch(() => undefined); // the kernel ends
  }
}

/** Draws the machine of a notebook. It reads prices and runs, and starts nothing. */
export class MachineButton extends ReactWidget {
  constructor(
    private readonly cloud: Cloud,
    private readonly panel: NotebookPanel,
    private readonly buildMenu: () => Promise<Menu>
  ) {
    super();
    this.addClass('lk-machine');
    const draw = () => this.update();
    cloud.changed.connect(draw);
    panel.context.ready.then(
      () => {
        recordTrust(panel.model);
        panel.model?.metadataChanged.connect(draw);
        draw();
      },
      () => undefined
    );
    this.disposed.connect(() => void cloud.changed.disconnect(draw));
  }

  /** Open the menu below the button. */
  async open(): Promise<void> {
    const menu = await this.buildMenu();
    const { x, bottom } = this.node.getBoundingClientRect();
    menu.aboutToClose.connect(() => {
      this.control?.setAttribute('aria-expanded', 'false');
      requestAnimationFrame(() => document.activeElement === document.body && this.control?.focus());
    });
    menu.open(x, bottom);
    this.control?.setAttribute('aria-expanded', 'true');
  }

  protected onUpdateRequest(message: Message): void {
    super.onUpdateRequest(message);
    void this.renderPromise?.then(() => this.control?.setAttribute('aria-haspopup', 'menu'));
  }

  protected render() {
    const machine = chosenMachine(this.panel);
    const run = mergeRuns(this.cloud.data).find(({ isActive, notebook }) => {
      return isActive && notebook && toLabPath(notebook) === this.panel.context.path;
    });
    return (
      <>
        <ToolbarButtonComponent
          className="lk-run-on"
          label={machine ? this.label(machine) : trans.__('Run on')}
          icon={caretDownEmptyIcon}
          tooltip={trans.__('Run the selected cells on a cloud machine, or choose another machine')}
          onClick={() => void this.open()}
        />
        {run && (
          <Suspense>
            <Sparklines key={run.id} id={run.id} isVisible={() => this.isVisible} />
          </Suspense>
        )}
      </>
    );
  }

  private get control(): HTMLElement | null {
    return this.node.querySelector('.lk-run-on');
  }

  private label(machine: string): string {
    const types = this.cloud.data.machines?.machine_types;
    const price = types?.find(({ hardware_profile }) => hardware_profile === machine)?.price_per_hour;
    return [machineName(machine), priceLabel(price)].filter(Boolean).join(' · ');
  }
}
