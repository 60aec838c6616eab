/** Buttons below a cell for the advice of its output: add an option to the line, or load the extension. */
import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

import { Cloud } from '../cloud';
import { cellToRun, mayRun, runCells } from '../loading';
import { adviceIn, hintsIn, mayAdd, withOption } from '../magicLine';
import { ICloud } from '../tokens';
import { trans } from '../trans';

/** Message of IPython if the extension isn't loaded. */
const NOT_LOADED = /(?:Cell magic `%%|Line magic function `%)lk_\w+` not found/;

export const hints: JupyterFrontEndPlugin<void> = {
  id: 'lk-jupyter:hints',
  description: 'Shows buttons that apply the advice in the output of a cell.',
  autoStart: true,
  requires: [ICloud, INotebookTracker],
  activate: (_: JupyterFrontEnd, cloud: Cloud, notebooks: INotebookTracker) => {
    const marked = new WeakSet<CodeCell>();
    const mark = (panel: NotebookPanel) => {
      for (const cell of panel.content.widgets) {
        if (cell instanceof CodeCell && !marked.has(cell)) {
          marked.add(cell);
          offerIn(cloud, panel, cell);
        }
      }
    };
    notebooks.widgetAdded.connect((_, panel) => {
      void panel.revealed.then(() => {
        mark(panel);
        panel.content.model?.cells.changed.connect(() => requestAnimationFrame(() => mark(panel)));
      });
    });
  }
};

function offerIn(cloud: Cloud, panel: NotebookPanel, cell: CodeCell): void {
  const row = document.createElement('div');
  row.className = 'lk-hints';
  const { sharedModel, outputs } = cell.model;
  const draw = () => {
    const all = outputs.toJSON() as Output[];
    row.replaceChildren(
      ...all
        .flatMap(output => [...hintsIn(output.metadata), ...adviceIn(output)])
        .filter(
          option => mayAdd(sharedModel.source, option) && withOption(sharedModel.source, option) !== sharedModel.source
        )
        .map(option =>
          createButton(actionLabel(option), () => {
            sharedModel.setSource(withOption(sharedModel.source, option));
            panel.content.activeCellIndex = panel.content.widgets.indexOf(cell);
          })
        ),
      ...(all.some(isNotLoaded)
        ? [createButton(trans.__('Load lk_jupyter and run the cell'), () => void loadAndRun(cloud, panel, cell))]
        : [])
    );
    row.hidden = !row.childElementCount;
  };
  cell.outputArea.inputRequested.connect(area => void replaceInput(area.node));
  outputs.changed.connect(draw);
  cell.model.contentChanged.connect(draw);
  void cell.ready.then(() => {
    cell.node.querySelector('.jp-Cell-outputWrapper')?.after(row);
    draw();
  });
}

async function replaceInput(area: HTMLElement): Promise<void> {
  const { addAnswerButtons } = await import('../syncQuestion');
  requestAnimationFrame(() => addAnswerButtons(area)); // the input is attached soon
}

/** Return the label of the button that adds an option. */
function actionLabel(option: string): string {
  const [, limit] = /^--max-cost (.*)/.exec(option) ?? [];
  return limit ? trans.__('Limit to %1', limit) : trans.__('Add %1', option);
}

/** The fields of an output that hints read. */
interface Output {
  metadata?: unknown;
  text?: string | string[];
  ename?: string;
  evalue?: string;
}

function isNotLoaded({ text, evalue }: Output): boolean {
  return NOT_LOADED.test([...(Array.isArray(text) ? text : [text]), evalue].join(''));
}

async function loadAndRun(cloud: Cloud, panel: NotebookPanel, cell: CodeCell): Promise<void> {
  const click = { verb: trans.__('Run'), isUiClick: true, isChosen: true };
  const { loadExtension } = await import('../runOn');
  if ((await mayRun(cloud, [cellToRun(cell)], click)) && (await loadExtension(panel))) {
    panel.content.activeCellIndex = panel.content.widgets.indexOf(cell);
    await runCells(panel, [cell]);
  }
}

function createButton(label: string, onClick: () => void): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = label;
  button.addEventListener('click', onClick);
  return button;
}
