/** The output of a cell that shows a run, and the data saved in the notebook; loaded with the first such output. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { CodeCell } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { MenuSvg, ReactWidget } from '@jupyterlab/ui-components';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React, { useEffect, useReducer, useRef } from 'react';

import { Cloud } from '../cloud';
import { COMMANDS, asUiCall } from '../commands';
import { HiddenLines, localChip, RunHeader, SeveralHead, useSight } from '../components/RunHeader';
import { buildForms, buildHeader, hiddenLines, SavedRun, savedRun, savedRuns, textIn } from '../header';
import { hasEnded, RUN_MIME } from '../runs';
import { thisSecond } from '../serverClock';
import { trans } from '../trans';

/** Milliseconds without a write after which the kernel no longer updates an output. */
const STALE = 6000;

export interface Tools {
  app: JupyterFrontEnd;
  cloud: Cloud;
  notebooks: INotebookTracker | null;
  /** Ids of the active cells. */
  active: Set<string>;
}

/** An output that shows a run, or a link to log lines that aren't in the notebook. */
export class RunOutput extends ReactWidget implements IRenderMime.IRenderer {
  private data: unknown = null;
  private since = 0;

  constructor(private readonly tools: Tools) {
    super();
    tools.cloud.changed.connect((_, topic) => topic === 'status' && this.update(), this);
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.data = model.data[RUN_MIME];
    this.since = Date.now();
    this.update();
    return Promise.resolve();
  }

  protected render() {
    const { data, since, tools } = this;
    const { commands } = tools.app;
    const hidden = hiddenLines(data);
    if (hidden) {
      const open = () => void commands.execute(COMMANDS.openRun, { id: hidden.id });
      return <HiddenLines count={hidden.count} onOpen={open} />;
    }
    const drawn = (saved: SavedRun, key: number) => (
      <LiveHeader key={key} saved={saved} since={since} tools={tools} place={() => findPlace(this, tools)} />
    );
    const several = savedRuns(data);
    if (several) {
      const chip = tools.cloud.data.status?.is_local ? localChip(several) : null;
      return (
        <section aria-label={several.head}>
          <SeveralHead words={several.head} chip={chip} />
          {several.runs.map(drawn)}
          {several.notes.map((note, at) => (
            <div key={at} className="lk-run-header-note">
              {note}
            </div>
          ))}
        </section>
      );
    }
    const saved = savedRun(data);
    return saved && drawn(saved, 0);
  }
}

/** Return the notebook and the cell of an output; null outside a notebook, such as in a console. */
function findPlace({ node }: ReactWidget, { notebooks }: Tools): { notebook: string; cellId: string } | null {
  const box = node.closest('.jp-Cell');
  const panel = box && notebooks?.find(({ content }) => content.node.contains(box));
  const cell = panel?.content.widgets.find(widget => widget.node === box);
  return cell ? { notebook: panel!.context.path, cellId: cell.model.id } : null;
}

interface LiveHeaderProps {
  saved: SavedRun;
  since: number;
  tools: Tools;
  place: () => ReturnType<typeof findPlace>;
}

function LiveHeader({ saved, since, tools, place }: LiveHeaderProps) {
  const { app, cloud, active } = tools;
  const { id, session } = saved;
  const [, draw] = useReducer((count: number) => count + 1, 0);
  const box = useRef<HTMLDivElement>(null);
  const at = place();
  const isLive = !!at && active.has(at.cellId);
  const times = { now: Date.now(), second: thisSecond(), isLive, since, silent: cloud.runs.silentSince };
  const run = id === null ? undefined : cloud.runs.find(id);
  const header = buildHeader(saved, session ? undefined : run, times); // the run of a session isn't the cell
  const chip = cloud.data.status?.is_local ? localChip(header) : null;
  const isSettled = header.ended && (run ? !run.isActive : run === null);

  const isVisible = useSight(box, !header.ended);
  useEffect(() => {
    const wish = id && !session && isVisible && !isSettled ? cloud.runs.follow(id) : null;
    return () => wish?.dispose();
  }, [id, session, isVisible, isSettled]);
  useEffect(() => {
    cloud.runs.changed.connect(draw);
    return () => void cloud.runs.changed.disconnect(draw);
  }, []);

  const { commands } = app;
  const args = asUiCall({ ...at, id });
  const abort = () => void commands.execute(COMMANDS.abortRun, asUiCall({ id }));
  const interrupt = () => {
    const panel = tools.notebooks?.find(({ context }) => context.path === at?.notebook);
    void panel?.sessionContext.session?.kernel?.interrupt();
  };
  const menuAt = (button: HTMLElement) => {
    const menu = new MenuSvg({ commands });
    menu.addItem({ command: COMMANDS.copyRunId, args: { id } });
    menu.addItem({ command: COMMANDS.openRun, args: { id } });
    if (at) {
      menu.addItem({ command: COMMANDS.attach, args });
    }
    if (session ? run?.isActive : !header.ended) {
      menu.addItem({ command: COMMANDS.abortRun, args: asUiCall({ id }) });
    }
    if (at) {
      menu.addItem({ command: COMMANDS.rerunCell, args });
    }
    const { x, bottom } = button.getBoundingClientRect();
    menu.open(x, bottom);
  };
  return (
    <div ref={box}>
      <RunHeader
        header={header}
        chip={chip}
        stopLabel={session ? trans.__('Interrupt the cell') : undefined}
        onStop={session ? (isLive ? interrupt : undefined) : abort}
        onRerun={at ? () => void commands.execute(COMMANDS.rerunCell, args) : undefined}
        onOpen={() => void commands.execute(COMMANDS.openRun, { id })}
        onMenu={menuAt}
      />
    </div>
  );
}

/** Update outputs of runs that no kernel updates, so that the notebook saves the state in the store. */
export function keepTrue(panel: NotebookPanel, { cloud, active }: Tools): void {
  for (const cell of panel.content.widgets) {
    if (cell.model.type !== 'code' || active.has(cell.model.id)) {
      continue;
    }
    const { outputs } = (cell as CodeCell).model;
    for (let at = 0; at < outputs.length; at++) {
      const output = outputs.get(at);
      const saved = savedRun(output.data[RUN_MIME]);
      if (!saved?.id || saved.session || hasEnded({ status: saved.state }) || isWritten(output)) {
        continue;
      }
      const run = cloud.runs.find(saved.id);
      const forms = run === undefined ? null : buildForms(saved, run, output.data);
      if (forms && forms.data['text/plain'] !== textIn(output.data['text/plain'])) {
        outputs.set(at, { ...output.toJSON(), ...forms });
      }
    }
  }
}

/**
 * Output → its text and the time at which the text appeared. A kernel that writes an output changes the text every few
 * seconds.
 */
const outputTexts = new WeakMap<object, { text: string; since: number }>();

function isWritten(output: { data: ReadonlyPartialJSONObject }): boolean {
  const text = textIn(output.data['text/plain']);
  const last = outputTexts.get(output);
  if (last?.text !== text) {
    outputTexts.set(output, { text, since: Date.now() });
    return true;
  }
  return Date.now() - last.since < STALE;
}
