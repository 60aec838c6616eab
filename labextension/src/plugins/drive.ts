/** The bucket in its own file browser. No request is sent before the browser opens. */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, MainAreaWidget, Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import { FileBrowser, IFileBrowserFactory, Uploader } from '@jupyterlab/filebrowser';
import { Contents } from '@jupyterlab/services';
import { LabIcon, newFolderIcon, notebookIcon, refreshIcon, ToolbarButton } from '@jupyterlab/ui-components';
import { Panel, Widget } from '@lumino/widgets';

import { BucketDrive } from '../bucketDrive';
import { Cloud } from '../cloud';
import { COMMANDS, asUiCall } from '../commands';
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
  browser: FileBrowser | null = null;
  /** Called when the user opens a file without an editor. */
  onTable: (path: string) => void = () => undefined;
  /** Advice in an empty bucket. */
  private readonly hint = new Widget({ node: document.createElement('p') });

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
    this.hint.addClass('lk-empty');
    this.hint.hide();
    const open = (event: Event, item: Contents.IModel | null | undefined) => {
      if (item && item.type !== 'directory' && TABLES.test(item.name)) {
        event.preventDefault();
        event.stopPropagation();
        this.onTable(item.path);
      }
    };
    this.node.addEventListener('dblclick', event => open(event, this.browser?.modelForClick(event)), true);
    this.node.addEventListener(
      'keydown',
      event => {
        if (event.key === 'Enter' && (event.target as HTMLElement).closest('.jp-DirListing-content')) {
          open(event, this.browser?.selectedItems().next().value as Contents.IModel | undefined);
        }
      },
      true
    );
    // Lab's model listens for changes of a drive under a path with the drive's name twice
    bucket.fileChanged.connect(() => this.refresh());
  }

  protected onAfterShow(): void {
    if (this.browser) {
      this.refresh();
    } else {
      this.browser = this.create();
      this.addWidget(this.browser);
      this.addWidget(this.hint);
      const { model } = this.browser;
      model.refreshed.connect(() => {
        this.hint.node.textContent = trans.__('No files. Drop files here, or click Upload.');
        this.hint.setHidden(!model.items().next().done);
      });
    }
  }

  /** Show the bucket of another account, if the browser was used before. */
  startAnew(): void {
    void this.browser?.model.cd('/');
  }

  private refresh(): void {
    if (this.isVisible) {
      void this.browser?.model.refresh();
    }
  }
}

/** Suffix → pandas function that reads the format. */
const READERS: Record<string, string> = {
  csv: 'read_csv',
  feather: 'read_feather',
  json: 'read_json',
  parquet: 'read_parquet',
  xlsx: 'read_excel'
};

/** Suffixes without an editor in Lab: such files open as a preview. */
const TABLES = /\.(parquet|pq|feather|arrow|npy|zip|xlsx?)$/i;

/** Return code that loads a file. A magic would expand file names in its line; JSON quotes are valid in Python. */
function loadingCode(key: string, name = 'data'): string {
  const suffix = PathExt.extname(key).slice(1).toLowerCase();
  return Object.hasOwn(READERS, suffix)
    ? `import pandas as pd\n\n${name} = pd.${READERS[suffix]}(${JSON.stringify(`lk://${key}`)})\n`
    : `import lk_jupyter\n\n${name} = lk_jupyter.connect().storage.get_bytes(${JSON.stringify(key)})\n`;
}

/** Return code that shows a folder in a notebook, with previews of tables in all formats. */
const showing = (folder: string) =>
  `from lk_jupyter.widgets import StorageBrowser\n\nStorageBrowser(${folder && JSON.stringify(folder)})\n`;

/** Offer to keep both files on an upload with an existing name: Lab's question can only overwrite. */
function askToKeepBoth({ model }: FileBrowser, bucket: BucketDrive): void {
  const upload = model.upload.bind(model);
  model.upload = async (file, path) => {
    await model.refresh();
    const isCurrentFolder = path === undefined || path === model.path;
    const existing = isCurrentFolder && [...model.items()].find(({ name }) => name === file.name);
    if (!existing || existing.type === 'directory') {
      return upload(file, path);
    }
    const { askToOverwrite } = await import('../questions');
    const answer = await askToOverwrite(file.name);
    const key = model.manager.services.contents.localPath(existing.path);
    return answer ? bucket.upload(key, file, answer === 'keep both') : existing;
  };
}

/** Add buttons, which Lab only adds to its own file browser. */
function withToolbar(browser: FileBrowser, onShow: (folder: string) => void): FileBrowser {
  browser.delete = async () => {
    const chosen = [...browser.selectedItems()];
    await (await import('../questions')).remove(browser, chosen);
  };
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
  toolbar.addItem(
    'notebook',
    button(trans.__('Insert a cell that previews tables of this folder'), notebookIcon, () => onShow(model.path))
  );
  return browser;
}

function warnTruncated(folder: string): void {
  Notification.warning(
    folder
      ? trans.__('%1 has more than 10,000 files. Only the first 10,000 are shown.', folder)
      : trans.__('The bucket has more than 10,000 files. Only the first 10,000 are shown.')
  );
}

export const drive: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:drive',
  description: 'Shows the bucket of the GPU cloud as a drive in a file browser.',
  autoStart: true,
  optional: [IFileBrowserFactory, ILayoutRestorer, ICloud],
  activate: (
    app: JupyterFrontEnd,
    browsers: IFileBrowserFactory | null,
    restorer: ILayoutRestorer | null,
    cloud: Cloud | null
  ) => {
    if (!browsers) {
      return; // Notebook has no file browser next to a notebook
    }
    const bucket = new BucketDrive(undefined, warnTruncated);
    app.serviceManager.contents.addDrive(bucket);
    const insert = (code: string) => app.commands.execute(COMMANDS.insert, asUiCall({ code }));
    const toKey = (path: string) => app.serviceManager.contents.localPath(path);
    const create = () => {
      const options = { driveName: bucket.name, restore: false, refreshInterval: NEVER };
      const browser = browsers.createFileBrowser('lk-jupyter-bucket-files', options);
      askToKeepBoth(browser, bucket);
      return withToolbar(browser, path => void insert(showing(toKey(path))));
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
    const preview = async (key: string) => {
      const id = `lk-file-${key}`;
      if (![...app.shell.widgets('main')].some(widget => widget.id === id)) {
        const { FileDocument } = await import('../panels/FileDocument');
        const content = new FileDocument(key, name => void insert(loadingCode(key, name)));
        Object.assign(content.title, { icon: bucketIcon, closable: true });
        const widget = new MainAreaWidget({ content });
        widget.id = id;
        app.shell.add(widget, 'main');
      }
      app.shell.activateById(id);
    };
    panel.onTable = path => void preview(toKey(path));
    const onFile = (command: string, label: string, act: (key: string) => unknown) => {
      app.commands.addCommand(command, {
        label,
        describedBy: { args: { type: 'object' } },
        execute: () => Promise.all(Array.from(panel.browser?.selectedItems() ?? [], ({ path }) => act(toKey(path))))
      });
      app.contextMenu.addItem({ command, selector: `#${ID} .jp-DirListing-item[data-isdir="false"]`, rank: 0 });
    };
    onFile(COMMANDS.previewFile, trans.__('Preview'), preview);
    onFile(COMMANDS.loadFile, trans.__('Load into pandas'), key => insert(loadingCode(key)));
    onFile(COMMANDS.copyRunPath, trans.__('Copy the path that code in a run uses'), key =>
      Clipboard.copyToSystem(`/mnt/s3/${key}`)
    );
    let account = cloud?.account;
    cloud?.changed.connect(() => {
      if (account !== cloud.account) {
        account = cloud.account;
        panel.startAnew();
      }
    });
  }
};
