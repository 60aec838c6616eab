/** The bucket in a file browser of its own; it asks for nothing before it is opened. */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { FileBrowser, IFileBrowserFactory, Uploader } from '@jupyterlab/filebrowser';
import { LabIcon, newFolderIcon, refreshIcon, ToolbarButton } from '@jupyterlab/ui-components';
import { Panel } from '@lumino/widgets';

import { BucketDrive } from '../bucketDrive';
import { Cloud } from '../cloud';
import { COMMANDS } from '../commands';
import { ICloud } from '../tokens';
import { trans } from '../trans';

const ID = 'lk-jupyter-bucket';
const NEVER = 2 ** 31 - 1;

const bucketIcon = new LabIcon({
  name: 'lk-jupyter:bucket',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="M12 2C7 2 3 3.6 3 5.5L5 19c.2 1.7 3.2 3 7 3s6.8-1.3 7-3l2-13.5C21 3.6 17 2 12 2zm0 2c4.4 0 7 1.2 7 1.5S16.4 7 12 7 5 5.8 5 5.5 7.6 4 12 4z"/></svg>'
});

class BucketPanel extends Panel {
  private browser: FileBrowser | null = null;

  constructor(
    private readonly create: () => FileBrowser,
    bucket: BucketDrive,
    caption: string
  ) {
    super();
    this.id = ID;
    this.title.icon = bucketIcon;
    this.title.caption = caption;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', caption);
    // Lab's own model looks for changes of a drive under a name that has the drive's name twice.
    bucket.fileChanged.connect(() => this.refresh());
  }

  protected onAfterShow(): void {
    if (this.browser) {
      this.refresh();
    } else {
      this.browser = this.create();
      this.addWidget(this.browser);
    }
  }

  /** Go to the bucket of another account, if one was seen before. */
  startAnew(): void {
    void this.browser?.model.cd('/');
  }

  private refresh(): void {
    if (this.isVisible) {
      void this.browser?.model.refresh();
    }
  }
}

/** Lab puts buttons on its own file browser only. */
function withToolbar(browser: FileBrowser): FileBrowser {
  const button = (tooltip: string, icon: LabIcon, onClick: () => void) => new ToolbarButton({ tooltip, icon, onClick });
  const { model, toolbar } = browser;
  toolbar.addItem(
    'newFolder',
    button(trans.__('New folder'), newFolderIcon, () => void browser.createNewDirectory())
  );
  toolbar.addItem('uploader', new Uploader({ model }));
  toolbar.addItem(
    'refresh',
    button(trans.__('Refresh'), refreshIcon, () => void model.refresh())
  );
  return browser;
}

function warnOfCut(folder: string): void {
  Notification.warning(
    folder
      ? trans.__('%1 has more than 10,000 keys: only the first of them are shown.', folder)
      : trans.__('The bucket has more than 10,000 keys: only the first of them are shown.')
  );
}

export const drive: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:drive',
  description: "The bucket of the GPU cloud as a drive, in a file browser of Lab's own kind.",
  autoStart: true,
  optional: [IFileBrowserFactory, ILayoutRestorer, ICloud],
  activate: (
    app: JupyterFrontEnd,
    browsers: IFileBrowserFactory | null,
    restorer: ILayoutRestorer | null,
    cloud: Cloud | null
  ) => {
    if (!browsers) {
      return; // Notebook has none beside a notebook
    }
    const bucket = new BucketDrive(undefined, warnOfCut);
    app.serviceManager.contents.addDrive(bucket);
    const create = () => {
      const options = { driveName: bucket.name, restore: false, refreshInterval: NEVER };
      return withToolbar(browsers.createFileBrowser('lk-jupyter-bucket-files', options));
    };
    const panel = new BucketPanel(create, bucket, trans.__('Bucket of the GPU cloud'));
    app.shell.add(panel, 'left', { rank: 250, type: 'Bucket' });
    restorer?.add(panel, ID);
    app.commands.addCommand(COMMANDS.openBucket, {
      label: trans.__('Bucket of the GPU cloud'),
      icon: bucketIcon,
      describedBy: { args: { type: 'object' } },
      execute: () => app.shell.activateById(ID)
    });
    let account = cloud?.account;
    cloud?.changed.connect(() => {
      if (account !== cloud.account) {
        account = cloud.account;
        panel.startAnew();
      }
    });
  }
};
