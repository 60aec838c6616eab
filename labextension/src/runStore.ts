/** What each run is now, by its id: from the lists that the cloud is asked for anyway, and its record where none has it. */
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import type { Cloud } from './cloud';
import type { RunRow } from './components/RunList';
import { request, Trouble } from './request';
import { hasEnded, isId, ofHistory, runsOf } from './runs';
import { ExecutionRecord } from './types';

/** Milliseconds from one look at what is missing to the next, and to ask again for one run. */
const PACE = 2000;
const AGAIN = 6000;
const REST = 30_000;

/** Milliseconds between two signals: what shows a run is drawn anew at most twice a second. */
const CALM = 500;

export class RunStore {
  private rows: Map<string, RunRow> | null = null;
  /** Records that were asked for; null where the server doesn't have the run. */
  private readonly records = new Map<string, { record: ExecutionRecord | null; due: number }>();
  private readonly followed = new Map<string, number>();
  private readonly _changed = new Signal<this, void>(this);
  private subscription: IDisposable | null = null;
  private account: string;
  private clock = 0;
  private calm = 0;
  private isAsking = false;
  private _silentSince: number | null = null;

  constructor(private readonly cloud: Cloud) {
    this.account = cloud.account;
    cloud.changed.connect(() => this.update());
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** When the cloud stopped to answer, in milliseconds since 1970; null while it answers. */
  get silentSince(): number | null {
    return this._silentSince;
  }

  /** A run; null where the server doesn't have it, undefined while it wasn't heard of. */
  find(id: string): RunRow | null | undefined {
    this.rows ??= new Map(runsOf(this.cloud.data).map(run => [run.id, run]));
    const [row, record] = [this.rows.get(id), this.records.get(id)?.record];
    if (!record) {
      return row ?? record;
    }
    const isNews = !row || hasEnded(record) || row.state === 'ended';
    return isNews
      ? { ...(row ?? ofHistory(record, new Map(), this.cloud.data.status?.ahead)), ...stateOf(record) }
      : row;
  }

  /** Keep what is known of a run fresh until it has ended, or the answer is disposed. */
  follow(id: string): IDisposable {
    this.followed.set(id, (this.followed.get(id) ?? 0) + 1);
    this.subscription ??= this.cloud.subscribe('running', 'journal', 'machines');
    this.clock ||= window.setInterval(() => void this.look(), PACE);
    void this.look();
    return new DisposableDelegate(() => {
      const left = this.followed.get(id)! - 1;
      if (left) {
        this.followed.set(id, left);
      } else {
        this.followed.delete(id);
      }
      if (!this.followed.size) {
        this.subscription?.dispose();
        this.subscription = null;
        window.clearInterval(this.clock);
        this.clock = 0;
      }
    });
  }

  private update(): void {
    this.rows = null;
    if (this.cloud.account !== this.account) {
      this.account = this.cloud.account;
      this.records.clear(); // the runs are another's
    }
    const { status, running } = this.cloud.troubles;
    const isSilent = [status, running].some(trouble => trouble && trouble.state !== 'refused');
    this._silentSince = isSilent ? (this._silentSince ?? Date.now()) : null;
    this.tell();
  }

  private tell(): void {
    this.calm ||= window.setTimeout(() => {
      this.calm = 0;
      this._changed.emit();
    }, CALM);
  }

  /** Ask for the records of runs whose state no list tells. */
  private async look(): Promise<void> {
    if (document.hidden || this.isAsking || !this.cloud.signedIn || !this.cloud.data.running) {
      return;
    }
    this.isAsking = true;
    try {
      for (const id of [...this.followed.keys()].filter(isId)) {
        const run = this.find(id);
        const isKnown =
          run && (run.goingOn ? this.rows?.has(id) : run.state !== 'ended' && !!(run.record ?? run.kept.seconds));
        if (!isKnown && (this.records.get(id)?.due ?? 0) < Date.now()) {
          await this.ask(id);
        }
      }
    } finally {
      this.isAsking = false;
    }
  }

  private async ask(id: string): Promise<void> {
    try {
      const record = await request<ExecutionRecord>(`api/execution/${encodeURIComponent(id)}`);
      this.records.set(id, { record, due: Date.now() + (hasEnded(record) ? REST : AGAIN) });
    } catch (failure) {
      if (!(failure instanceof Trouble)) {
        throw failure;
      }
      const isGone = failure.response?.status === 404 && failure.state === 'refused';
      if (isGone) {
        this.records.set(id, { record: null, due: Date.now() + REST });
      }
    }
    this.tell();
  }
}

function stateOf(record: ExecutionRecord) {
  return { state: (record.status ?? '').toLowerCase(), goingOn: !hasEnded(record), record };
}
