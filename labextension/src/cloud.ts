/**
 * The state of the cloud in the browser: the latest answers, announced by a signal. Cloud requests only topics with
 * subscribers, one request at a time.
 */
import { IDisposable, DisposableDelegate } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { CloudData, RunRecords, Topic } from './cloudTypes';
import { request, Trouble, withTimeLimit } from './request';
import { RunStore } from './runStore';
import { mergeRuns } from './runs';
import { AbortResponse, BurnRateContent, ExecutionRecord, StatusContent, Workload } from './types';

/** Milliseconds between requests while there are subscribers. */
export const PACE = 2000;

/** Number of the newest runs to read from the journal of this machine. */
export const MOST_RUNS = 500;

/** Attempts to read a record that doesn't show the start of its code yet. */
const MOST_LOOKS = 5;

/** Topic → path behind `lk/`, and the age in seconds after which an answer is old. */
const TOPICS: Record<Topic, { path: (cloud: Cloud) => string | null; every: number }> = {
  status: { path: () => 'status', every: 60 },
  running: { path: () => 'api/workloads/list', every: 4 },
  journal: { path: () => `journal?limit=${MOST_RUNS}`, every: 8 },
  history: { path: () => 'api/billing/history?limit=100', every: 16 },
  balance: { path: cloud => behindApi(cloud.data.status?.balance_path), every: 20 },
  machines: { path: () => 'api/machine-types', every: 600 },
  deployments: { path: () => 'api/inference/list', every: 10 },
  vms: { path: () => 'api/vms/list?include_failed=false&include_terminated=false', every: 10 },
  burnRate: { path: () => 'burn-rate', every: 20 }
};

/**
 * Seconds between attempts for a topic in trouble, so that an error disappears soon after the cloud recovers; and for
 * the status while no user is signed in, because a shell may sign in.
 */
const AGAIN = 4;

/** Milliseconds without an answer after which a request counts as unanswered. */
const SLOW = 8000;

/** Milliseconds after which a request ends without an answer: the next request waits for its end. */
const TIME_LIMIT = 60_000;

/** States in which requests fail until the user acts. */
const NEEDS_USER = new Set<string>(['signed-out', 'revoked']);

export class Cloud {
  /** The latest answer to each topic. */
  readonly data: Partial<CloudData> & RunRecords = {};
  /** The latest trouble of each topic; the next answer removes the trouble. */
  readonly troubles: Partial<Record<Topic, Trouble>> = {};
  /** The server and organization of the last sign-in. When the account changes, everything is read again. */
  account = '';
  /** The latest state of each run, by id. */
  readonly runs: RunStore;

  private readonly requestTimes: Partial<Record<Topic, number>> = {};
  /** Run → number of reads of the record. */
  private readonly readCounts = new Map<string, number>();
  /** Ids of billed runs that no list contained. */
  private readonly lookedUp = new Set<string>();
  private readonly subscriptions = new Map<object, Topic[]>();
  private readonly _changed = new Signal<this, Topic>(this);
  private _showsMoney = false;
  private _unansweredSince: number | null = null;
  private timer = 0;
  private pending: Promise<void> | null = null;

  constructor() {
    this.runs = new RunStore(this);
    document.addEventListener('visibilitychange', () => this.requestDueTopic());
  }

  get changed(): ISignal<this, Topic> {
    return this._changed;
  }

  /** Whether a user is signed in; null before the first status. */
  get signedIn(): boolean | null {
    return this.data.status ? !NEEDS_USER.has(this.data.status.state) : null;
  }

  /** Unix milliseconds of a request that has had no answer for a while; null while the cloud answers. */
  get unansweredSince(): number | null {
    return this._unansweredSince;
  }

  /** Whether the panel shows balance and burn rate, so that the status bar doesn't repeat them. */
  get showsMoney(): boolean {
    return this._showsMoney;
  }

  set showsMoney(value: boolean) {
    this._showsMoney = value;
    this._changed.emit('balance');
  }

  /** Whether any subscription is open. */
  get hasSubscribers(): boolean {
    return this.subscriptions.size > 0;
  }

  /** The trouble that keeps the cloud from answering; null while the cloud answers. */
  get trouble(): Trouble | null {
    const status = this.data.status;
    const statusTrouble =
      status && status.state !== 'signed-in' ? new Trouble(status.state, status.detail ?? '') : null;
    return this.troubles.status ?? statusTrouble ?? Object.values(this.troubles)[0] ?? null;
  }

  /** Keep topics fresh until the result is disposed, while the page is visible. */
  subscribe(...topics: Topic[]): IDisposable {
    const key = {};
    this.subscriptions.set(key, topics);
    void this.requestMissing();
    this.timer ||= window.setInterval(() => this.requestDueTopic(), PACE);
    return new DisposableDelegate(() => {
      this.subscriptions.delete(key);
      if (!this.subscriptions.size) {
        window.clearInterval(this.timer);
        this.timer = 0;
      }
    });
  }

  /** Request topics now, whatever their age, one after another. */
  async refresh(...topics: Topic[]): Promise<void> {
    for (const topic of topics) {
      await this.requestTopic(topic);
    }
  }

  /**
   * Mark topics as due, so that the next requests read them: a run or machine has started or ended. Topics that are due
   * for longer are read first, however often others become due.
   */
  invalidate(...topics: Topic[]): void {
    topics.forEach(topic => (this.requestTimes[topic] = Date.now() - 1000 * this.findInterval(topic)));
  }

  /** Abort a run. The lists show the new state after their next refresh. */
  abort(id: string): Promise<AbortResponse> {
    return request(`api/workloads/abort/${encodeURIComponent(id)}`, { method: 'POST' });
  }

  /** Store the status that an action returned. All other data may belong to another account and is read again. */
  async replaceStatus(status: StatusContent): Promise<void> {
    this.forgetAnswers();
    this.storeAnswer('status', status);
    await this.requestMissing();
  }

  private forgetAnswers(): void {
    for (const topic of Object.keys(TOPICS) as Topic[]) {
      delete this.data[topic];
      delete this.troubles[topic];
      delete this.requestTimes[topic];
    }
    delete this.data.records;
    delete this.data.newRuns;
    this.readCounts.clear();
  }

  /** Request each subscribed topic that has never been requested. */
  private async requestMissing(): Promise<void> {
    for (const topic of ['status', ...this.topics()] as Topic[]) {
      if (this.requestTimes[topic] === undefined) {
        await this.requestTopic(topic);
      }
    }
  }

  private topics(): Topic[] {
    return [...new Set([...this.subscriptions.values()].flat())];
  }

  /** Request the topic that has been due for the longest time. */
  private requestDueTopic(): void {
    if (document.hidden || this.pending || !this.subscriptions.size) {
      return;
    }
    const dueTime = (topic: Topic) => (this.requestTimes[topic] ?? 0) + 1000 * this.findInterval(topic);
    const readable = [...new Set<Topic>(['status', ...this.topics()])].filter(topic => this.findPath(topic));
    const [first] = readable.sort((a, b) => dueTime(a) - dueTime(b));
    if (dueTime(first) <= Date.now()) {
      void this.requestTopic(first);
    }
  }

  /** Return the seconds after which the answer to a topic is old. */
  private findInterval(topic: Topic): number {
    const isWaiting = this.troubles[topic] || (topic === 'status' && this.signedIn === false);
    return isWaiting ? AGAIN : TOPICS[topic].every;
  }

  /** Return the path of a topic; null for a topic that can't be read now, such as any list before the sign-in. */
  private findPath(topic: Topic): string | null {
    return topic === 'status' || this.signedIn ? TOPICS[topic].path(this) : null;
  }

  private async requestTopic(topic: Topic): Promise<void> {
    while (this.pending) {
      await this.pending;
    }
    const path = this.findPath(topic);
    if (path) {
      const requestTime = (this.requestTimes[topic] = Date.now());
      const timer = window.setTimeout(() => {
        this._unansweredSince = requestTime;
        this._changed.emit(topic);
      }, SLOW);
      this.pending = this.readTopic(topic, path, timer).finally(() => (this.pending = null));
      await this.pending;
    }
  }

  private async readTopic(topic: Topic, path: string, timer: number): Promise<void> {
    try {
      const answer = await withTimeLimit(TIME_LIMIT, signal => request(path, { signal })).finally(() =>
        window.clearTimeout(timer)
      );
      this._unansweredSince = null;
      this.storeAnswer(topic, answer as never);
      await (topic === 'running' && withTimeLimit(SLOW, signal => this.readRecords(signal)));
    } catch (failure) {
      if (!(failure instanceof Trouble)) {
        throw failure;
      }
      if (NEEDS_USER.has(failure.state) && this.data.status) {
        this.storeAnswer('status', { ...this.data.status, state: failure.state, detail: failure.message });
      } else {
        this.troubles[topic] = failure;
        this._changed.emit(topic);
      }
    }
  }

  /** Read the records of running runs until each record shows the start of its code, or until `signal` aborts. */
  private async readRecords(signal: AbortSignal): Promise<void> {
    const runs = this.data.running!.filter(run => run.status?.toLowerCase() === 'running').map(run => run.execution_id);
    const records = new Map(runs.flatMap(id => (this.data.records?.has(id) ? [[id, this.data.records.get(id)!]] : [])));
    this.data.records = records;
    for (const id of runs) {
      const [record, readCount] = [records.get(id), this.readCounts.get(id) ?? 0];
      if (!signal.aborted && !record?.start_time && !record?.job_start && readCount < MOST_LOOKS) {
        this.readCounts.set(id, readCount + 1);
        const path = `api/execution/${encodeURIComponent(id)}`;
        const answer = await request<ExecutionRecord>(path, { signal }).catch(() => null);
        if (answer) {
          records.set(id, answer);
          this._changed.emit('running');
        }
      }
    }
  }

  private storeAnswer<T extends Topic>(topic: T, answer: CloudData[T]): void {
    const hasEndedRuns = topic === 'running' && this.hasEndedRun(answer as Workload[]);
    if (topic === 'running' && this.hasNewRun(answer as Workload[])) {
      this.invalidate('journal', 'burnRate'); // the journal knows the cell of the run, the burn rate its price
    }
    const activeBefore = this.data[topic] && this.activeIds();
    const rented = this.rented();
    this.data[topic] = answer;
    if (this.rented() !== rented) {
      this.invalidate('burnRate');
    }
    if (topic === 'running') {
      delete this.data.newRuns;
    } else if (activeBefore && (topic === 'journal' || topic === 'history') && this.addNewRuns(activeBefore)) {
      this.invalidate('running');
    }
    if (topic === 'status') {
      this.followAccount(answer as StatusContent);
    }
    delete this.troubles[topic];
    this._changed.emit(topic);
    if (hasEndedRuns) {
      void this.refresh('history', 'journal', 'balance', 'burnRate');
    } else if (topic === 'burnRate' && this.hasUnlistedRun(answer as BurnRateContent)) {
      void this.refresh('running', 'history', 'journal', 'balance', 'burnRate');
    }
  }

  /** Read everything again if another process, such as a kernel, has signed in or has changed the account. */
  private followAccount(status: StatusContent): void {
    if (status.state !== 'signed-in') {
      return;
    }
    const account = `${status.base_url} ${status.organization?.slug ?? ''}`;
    if (this.account && this.account !== account) {
      this.forgetAnswers();
      Object.assign(this.data, { status });
      this.requestTimes.status = Date.now();
    }
    this.account = account;
    void this.requestMissing();
  }

  /** Return VMs and deployments with their states: the states decide about billing. */
  private rented(): string {
    const { vms, deployments } = this.data;
    const machines = vms?.vms?.map(vm => `${vm.vm_id} ${vm.status}`) ?? [];
    const models = deployments?.deployments?.map(model => `${model.deployment_id} ${model.status}`) ?? [];
    return [...machines, ...models].join();
  }

  /** Return the ids of active runs in the journal and the history, without the list of active runs. */
  private activeIds(): Set<string> {
    const { status, journal, history } = this.data;
    const runs = mergeRuns({ status, journal, history });
    return new Set(runs.filter(run => run.isActive).map(run => run.id));
  }

  /**
   * Record runs that were in no list before, and return whether there are any. The older list of active runs lacks
   * them, which doesn't prove that they ended.
   */
  private addNewRuns(before: ReadonlySet<string>): boolean {
    const newIds = [...this.activeIds()].filter(id => !before.has(id));
    this.data.newRuns = new Set([...(this.data.newRuns ?? []), ...newIds]);
    return newIds.length > 0;
  }

  /**
   * Return whether a billed run is missing from all lists: a run that starts and ends between two lists is in neither
   * list.
   */
  private hasUnlistedRun({ things }: BurnRateContent): boolean {
    const listed = new Set(this.data.running?.map(run => run.execution_id));
    const ids = things?.filter(({ kind, id }) => kind === 'run' && !listed.has(id) && !this.lookedUp.has(id)) ?? [];
    ids.forEach(({ id }) => this.lookedUp.add(id));
    return ids.length > 0;
  }

  /** Return whether the new list contains a run that the previous list lacks. */
  private hasNewRun(running: Workload[]): boolean {
    return running.some(run => !this.data.running?.some(before => before.execution_id === run.execution_id));
  }

  /**
   * Return whether the previous list contains a run that the new list lacks: other lists then know how the run ended.
   */
  private hasEndedRun(running: Workload[]): boolean {
    return !!this.data.running?.some(run => !running.some(still => still.execution_id === run.execution_id));
  }
}

function behindApi(path: string | null | undefined): string | null {
  return path ? `api/${path}` : null;
}
