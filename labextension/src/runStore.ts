/**
 * The latest state of each run, by id: from the lists that Cloud reads, and from the run's record if no list contains
 * the run.
 */
import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { CloudFeed, RunRow } from './cloudTypes';
import { request, Trouble, withTimeLimit } from './request';
import { hasEnded, isId, rowFromRecord, mergeRuns } from './runs';
import { ExecutionRecord } from './types';

/** Milliseconds between checks for missing records, and until an active or a final record is read again. */
const PACE = 2000;
const ACTIVE_RECORD_AGE = 6000;
const FINAL_RECORD_AGE = 30_000;

/** Milliseconds after which the request of a record ends without an answer. */
const TIME_LIMIT = 60_000;

/** Milliseconds between two signals: views of runs are drawn at most twice a second. */
const SIGNAL_INTERVAL = 500;

export class RunStore {
  private rows: Map<string, RunRow> | null = null;
  /** Records that were requested; null if the server doesn't have the run. */
  private readonly records = new Map<string, { record: ExecutionRecord | null; due: number }>();
  private readonly followed = new Map<string, number>();
  private readonly _changed = new Signal<this, void>(this);
  private subscription: IDisposable | null = null;
  private account: string;
  private timer = 0;
  private signalTimer = 0;
  private isReading = false;
  private _silentSince: number | null = null;

  constructor(private readonly cloud: CloudFeed) {
    this.account = cloud.account;
    cloud.changed.connect(() => this.update());
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Unix milliseconds at which the cloud stopped answering; null while the cloud answers. */
  get silentSince(): number | null {
    return this._silentSince;
  }

  /** Return a run; null if the server doesn't have the run, undefined if nothing is known yet. */
  find(id: string): RunRow | null | undefined {
    this.rows ??= new Map(mergeRuns(this.cloud.data).map(run => [run.id, run]));
    const [row, record] = [this.rows.get(id), this.records.get(id)?.record];
    if (!record) {
      return row ?? record;
    }
    const isNews = !row || hasEnded(record) || row.state === 'ended';
    return isNews
      ? { ...(row ?? rowFromRecord(record, new Map(), this.cloud.data.status?.ahead)), ...recordState(record) }
      : row;
  }

  /** Return whether the server answered a request for the record of a run. */
  hasAnswer(id: string): boolean {
    return this.records.has(id);
  }

  /** Keep the state of a run fresh until the run has ended or the result is disposed. */
  follow(id: string): IDisposable {
    this.followed.set(id, (this.followed.get(id) ?? 0) + 1);
    this.subscription ??= this.cloud.subscribe('running', 'journal', 'machines');
    this.timer ||= window.setInterval(() => void this.readMissingRecords(), PACE);
    void this.readMissingRecords();
    return new DisposableDelegate(() => {
      const followerCount = this.followed.get(id)! - 1;
      if (followerCount) {
        this.followed.set(id, followerCount);
      } else {
        this.followed.delete(id);
      }
      if (!this.followed.size) {
        this.subscription?.dispose();
        this.subscription = null;
        window.clearInterval(this.timer);
        this.timer = 0;
      }
    });
  }

  private update(): void {
    this.rows = null;
    if (this.cloud.account !== this.account) {
      this.account = this.cloud.account;
      this.records.clear(); // the runs belong to another account
    }
    const { status, running } = this.cloud.troubles;
    const { unansweredSince } = this.cloud;
    const isSilent = [status, running].some(trouble => trouble && trouble.state !== 'refused');
    this._silentSince = isSilent || unansweredSince ? (this._silentSince ?? unansweredSince ?? Date.now()) : null;
    this.signalSoon();
  }

  private signalSoon(): void {
    this.signalTimer ||= window.setTimeout(() => {
      this.signalTimer = 0;
      this._changed.emit();
    }, SIGNAL_INTERVAL);
  }

  /** Read the records of followed runs whose state no list shows. */
  private async readMissingRecords(): Promise<void> {
    if (document.hidden || this.isReading || !this.cloud.signedIn || !this.cloud.data.running) {
      return;
    }
    this.isReading = true;
    try {
      for (const id of [...this.followed.keys()].filter(isId)) {
        const run = this.find(id);
        const isCurrent =
          run &&
          (run.isActive
            ? this.rows?.get(id)?.isActive
            : run.state !== 'ended' && !!(run.record ?? run.storedBill.seconds));
        if (!isCurrent && (this.records.get(id)?.due ?? 0) < Date.now()) {
          await this.readRecord(id);
        }
      }
    } finally {
      this.isReading = false;
    }
  }

  private async readRecord(id: string): Promise<void> {
    try {
      const record = await withTimeLimit(TIME_LIMIT, signal =>
        request<ExecutionRecord>(`api/execution/${encodeURIComponent(id)}`, { signal })
      );
      this.records.set(id, { record, due: Date.now() + (hasEnded(record) ? FINAL_RECORD_AGE : ACTIVE_RECORD_AGE) });
    } catch (failure) {
      if (!(failure instanceof Trouble)) {
        throw failure;
      }
      const isMissing = failure.response?.status === 404 && failure.state === 'refused';
      if (isMissing) {
        this.records.set(id, { record: null, due: Date.now() + FINAL_RECORD_AGE });
      }
    }
    this.signalSoon();
  }
}

function recordState(record: ExecutionRecord) {
  return { state: (record.status ?? '').toLowerCase(), isActive: !hasEnded(record), record };
}
