/** The popup of the status bar, loaded on the first click. */
import { ReactWidget } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import React from 'react';

import '../../style/panel.css';
import type { Cloud } from '../cloud';
import { COMMANDS, asUiCall } from '../commands';
import { ActiveNow } from '../components/ActiveNow';
import { clock, silentFor } from '../header';
import { computePoolBill, foldPools } from '../pools';
import { mergeRuns } from '../runs';
import { eachSecond, thisSecond } from '../serverClock';

/** A list of everything that is billed now, updated while open. */
export class ActivePopup extends ReactWidget {
  private readonly ends: (() => void)[] = [];

  constructor(
    private readonly commands: CommandRegistry,
    private readonly cloud: Cloud
  ) {
    super();
    this.addClass('lk-active-popup');
  }

  protected onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    const wish = this.cloud.subscribe('running', 'journal', 'machines', 'burnRate');
    void this.renderPromise?.then(() => this.node.querySelector('button')?.focus());
    const close = ({ key }: KeyboardEvent) => key === 'Escape' && this.parent?.dispose();
    document.addEventListener('keydown', close); // wherever focus is: the element with focus may have disappeared
    this.ends.push(
      () => document.removeEventListener('keydown', close),
      () => wish.dispose(),
      eachSecond(() => this.update())
    );
  }

  protected onBeforeDetach(msg: Message): void {
    this.ends.splice(0).forEach(end => end());
    super.onBeforeDetach(msg);
  }

  protected render() {
    const { commands } = this;
    const { data } = this.cloud;
    const silence = silentFor({ now: Date.now(), silent: this.cloud.runs.silentSince });
    const runs = foldPools(mergeRuns(data).filter(run => run.isActive)).map(run => {
      const { seconds } = computePoolBill(run, thisSecond());
      const time = seconds === null || silence !== null ? '' : clock(seconds);
      const onStop = () => void commands.execute(COMMANDS.abortRun, asUiCall(run));
      return { id: run.id, name: run.name, machine: run.machine, perHour: run.pricePerHour, time, onStop };
    });
    const rented = (data.burnRate?.things ?? [])
      .filter(({ kind }) => kind !== 'run')
      .map(({ id, name, hardware: machine, per_hour }) => {
        return {
          id,
          name: name || id.slice(0, 8),
          machine,
          perHour: per_hour === null ? null : Number(per_hour),
          time: ''
        };
      });
    return (
      <ActiveNow
        silence={silence}
        active={[...runs, ...rented]}
        onOpenPanel={() => void commands.execute(COMMANDS.openPanel)}
      />
    );
  }
}
