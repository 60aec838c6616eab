/** The sidebar panel. The content is loaded when first shown. */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStateDB } from '@jupyterlab/statedb';
import { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { Cloud } from '../cloud';
import { COMMANDS, isUiCall, asUiCall } from '../commands';
import { cloudIcon, cloudTile } from '../icon';
import { ICloud } from '../tokens';
import { trans } from '../trans';

const ID = 'lk-jupyter-panel';

/** Option of the page that opens the panel at the start. */
const OPEN_AT_START = 'lkOpenPanel';

/** Key of the stored list of open sections. */
const OPEN = 'lk-jupyter:panel';

export const panel: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:panel',
  description: 'Shows runs, machines, storage, deployments, VMs and the account in a sidebar.',
  autoStart: true,
  requires: [ICloud],
  optional: [ICommandPalette, ILauncher, ILayoutRestorer, IStateDB, INotebookTracker],
  activate: (
    app: JupyterFrontEnd,
    cloud: Cloud,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    state: IStateDB | null,
    notebooks: INotebookTracker | null
  ) => {
    const widget = new LazyPanel(async () => {
      const { CloudPanel } = await import('../panels/CloudPanel');
      const open = ((await state?.fetch(OPEN)) ?? {}) as Record<string, boolean>;
      return new CloudPanel(cloud, app.commands, open, now => void state?.save(OPEN, now), notebooks);
    });
    widget.id = ID;
    widget.title.icon = cloudIcon;
    widget.title.caption = trans.__('GPU cloud');
    widget.node.setAttribute('role', 'region');
    widget.node.setAttribute('aria-label', trans.__('GPU cloud'));
    app.shell.add(widget, 'left', { rank: 450, type: 'GPU cloud' });
    restorer?.add(widget, ID);
    if (PageConfig.getOption(OPEN_AT_START) === 'true') {
      void app.restored.then(() => app.shell.activateById(ID));
    }

    const command = COMMANDS.openPanel;
    app.commands.addCommand(command, {
      label: trans.__('GPU cloud'),
      caption: trans.__('Show runs, machines, storage and account'),
      icon: cloudIcon,
      describedBy: { args: { type: 'object' } },
      execute: () => app.shell.activateById(ID)
    });
    palette?.addItem({ command, category: trans.__('GPU cloud') });
    app.commands.addCommand(COMMANDS.openQuickstart, {
      label: trans.__('GPU cloud'),
      caption: trans.__('Open the quickstart of the GPU cloud'),
      icon: cloudTile,
      describedBy: { args: { type: 'object', properties: { cwd: { type: 'string' } } } },
      execute: async ({ cwd, ...args }) => {
        app.shell.activateById(ID);
        const { openQuickstart } = await import('../quickstart');
        await openQuickstart(app, (cwd as string | undefined) ?? '', isUiCall(args));
      }
    });
    palette?.addItem({ command: COMMANDS.openQuickstart, category: trans.__('GPU cloud'), args: asUiCall() });
    const category = trans.__('GPU cloud');
    launcher?.add({ command: COMMANDS.openQuickstart, category, categoryRank: 10, args: asUiCall() }); // between notebooks and consoles
  }
};

/** A widget that loads its content when first shown. */
class LazyPanel extends Widget {
  private fetching = false;

  constructor(private readonly fetchWidget: () => Promise<Widget>) {
    super();
    this.layout = new PanelLayout();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.fill();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      void this.fill();
    }
  }

  private async fill(): Promise<void> {
    if (!this.fetching) {
      this.fetching = true;
      (this.layout as PanelLayout).addWidget(await this.fetchWidget());
    }
  }
}
