/** The only state: what was heard of the cloud, as one signal. It asks for what is shown, one request at a time. */
import { IDisposable, DisposableDelegate } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { request, Trouble } from './request';
import { RunStore } from './runStore';
import { runsOf } from './runs';
import {
  BurnRateContent,
  CreditsBalance,
  DeploymentList,
  ExecutionHistory,
  ExecutionRecord,
  JournalContent,
  MachineTypeList,
  OrgBalance,
  StatusContent,
  VMList,
  Workload
} from './types';

/** Milliseconds from one request to the next while something is shown. */
export const PACE = 2000;

/** How many of the newest runs of this machine are read. */
export const MOST_RUNS = 500;

/** What there is to hear, and what each answer is. */
export interface Heard {
  status: StatusContent;
  balance: CreditsBalance | OrgBalance;
  running: Workload[];
  journal: JournalContent;
  history: ExecutionHistory;
  machines: MachineTypeList;
  deployments: DeploymentList;
  vms: VMList;
  burnRate: BurnRateContent;
}
export type Topic = keyof Heard;

/** The records of runs that go on: no list shows when the code of a run began, from which it is billed. */
export interface Records {
  records?: ReadonlyMap<string, ExecutionRecord>;
  /** Runs that began after the list of active runs was heard: that it lacks them says nothing. */
  begun?: ReadonlySet<string>;
}

/** How often a record is read that does not show it yet. */
const MOST_LOOKS = 5;

/** Topic → path behind `lk/` and seconds after which an answer is old. */
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

/** Seconds after which a topic in trouble is asked for again, so that what is over is not told any longer. */
const AGAIN = 4;

/** States in which a request would bring nothing before the user does something. */
const NEEDS_USER = new Set<string>(['signed-out', 'revoked']);

export class Cloud {
  /** The last answers. */
  readonly data: Partial<Heard> & Records = {};
  /** The last trouble of each topic, gone with its next answer. */
  readonly troubles: Partial<Record<Topic, Trouble>> = {};
  /** The server and organization that were last signed in to: what is another's is to be read anew. */
  account = '';
  /** What each run is now, by its id. */
  readonly runs: RunStore;

  private readonly asked: Partial<Record<Topic, number>> = {};
  /** Run → how often its record was read. */
  private readonly looks = new Map<string, number>();
  /** Runs that were billed and in no list of runs when that was heard. */
  private readonly sought = new Set<string>();
  private readonly wanted = new Map<object, Topic[]>();
  private readonly _changed = new Signal<this, Topic>(this);
  private _showsMoney = false;
  private clock = 0;
  private asking: Promise<void> | null = null;

  constructor() {
    this.runs = new RunStore(this);
    document.addEventListener('visibilitychange', () => this.look());
  }

  get changed(): ISignal<this, Topic> {
    return this._changed;
  }

  /** Whether somebody is signed in; null while that was not heard. */
  get signedIn(): boolean | null {
    return this.data.status ? !NEEDS_USER.has(this.data.status.state) : null;
  }

  /** Whether the panel shows balance and burn rate, so that the status bar doesn't repeat them. */
  get showsMoney(): boolean {
    return this._showsMoney;
  }

  set showsMoney(isShown: boolean) {
    this._showsMoney = isShown;
    this._changed.emit('balance');
  }

  /** Whether somebody keeps topics fresh. */
  get isWanted(): boolean {
    return this.wanted.size > 0;
  }

  /** What keeps the cloud from being heard, in words; null when it is heard. */
  get trouble(): Trouble | null {
    const status = this.data.status;
    const told = status && status.state !== 'signed-in' ? new Trouble(status.state, status.detail ?? '') : null;
    return this.troubles.status ?? told ?? Object.values(this.troubles)[0] ?? null;
  }

  /** Keep topics fresh until the answer is disposed, as long as the page is seen. */
  subscribe(...topics: Topic[]): IDisposable {
    const key = {};
    this.wanted.set(key, topics);
    void this.first();
    this.clock ||= window.setInterval(() => this.look(), PACE);
    return new DisposableDelegate(() => {
      this.wanted.delete(key);
      if (!this.wanted.size) {
        window.clearInterval(this.clock);
        this.clock = 0;
      }
    });
  }

  /** Ask for topics now, whatever their age, one after another. */
  async refresh(...topics: Topic[]): Promise<void> {
    for (const topic of topics) {
      await this.ask(topic);
    }
  }

  /** Take topics for old, so that they are asked for next: something has begun or ended. */
  invalidate(...topics: Topic[]): void {
    topics.forEach(topic => (this.asked[topic] = 0));
  }

  /** Take a status that an action answered with; all else is heard anew, as it may be another's. */
  async become(status: StatusContent): Promise<void> {
    for (const topic of Object.keys(TOPICS) as Topic[]) {
      delete this.data[topic];
      delete this.troubles[topic];
      delete this.asked[topic];
    }
    delete this.data.records;
    delete this.data.begun;
    this.looks.clear();
    this.take('status', status);
    await this.first();
  }

  /** Ask for what is wanted and was never heard. */
  private async first(): Promise<void> {
    for (const topic of ['status', ...this.topics()] as Topic[]) {
      if (this.asked[topic] === undefined) {
        await this.ask(topic);
      }
    }
  }

  private topics(): Topic[] {
    return [...new Set([...this.wanted.values()].flat())];
  }

  /** Ask for the one that is the oldest for its kind. */
  private look(): void {
    if (document.hidden || this.asking || !this.wanted.size) {
      return;
    }
    const every = (topic: Topic) => (this.troubles[topic] ? AGAIN : TOPICS[topic].every);
    const age = (topic: Topic) => (Date.now() - (this.asked[topic] ?? 0)) / 1000 / every(topic);
    const [oldest] = [...new Set<Topic>(['status', ...this.topics()])].sort((a, b) => age(b) - age(a));
    if (age(oldest) >= 1) {
      void this.ask(oldest);
    }
  }

  private async ask(topic: Topic): Promise<void> {
    while (this.asking) {
      await this.asking;
    }
    const path = topic === 'status' || this.signedIn ? TOPICS[topic].path(this) : null;
    if (path) {
      this.asked[topic] = Date.now();
      this.asking = this.answer(topic, path).finally(() => (this.asking = null));
      await this.asking;
    }
  }

  private async answer(topic: Topic, path: string): Promise<void> {
    try {
      this.take(topic, await request(path));
      await (topic === 'running' && this.readRecords());
    } catch (failure) {
      if (!(failure instanceof Trouble)) {
        throw failure;
      }
      if (NEEDS_USER.has(failure.state) && this.data.status) {
        this.take('status', { ...this.data.status, state: failure.state, detail: failure.message });
      } else {
        this.troubles[topic] = failure;
        this._changed.emit(topic);
      }
    }
  }

  /** Read the records of runs whose code runs, until they show since when. */
  private async readRecords(): Promise<void> {
    const runs = this.data.running!.filter(run => run.status?.toLowerCase() === 'running').map(run => run.execution_id);
    const kept = new Map(runs.flatMap(id => (this.data.records?.has(id) ? [[id, this.data.records.get(id)!]] : [])));
    this.data.records = kept;
    for (const id of runs) {
      const [known, looks] = [kept.get(id), this.looks.get(id) ?? 0];
      if (!known?.start_time && !known?.job_start && looks < MOST_LOOKS) {
        this.looks.set(id, looks + 1);
        const record = await request<ExecutionRecord>(`api/execution/${encodeURIComponent(id)}`).catch(() => null);
        if (record) {
          kept.set(id, record);
          this._changed.emit('running');
        }
      }
    }
  }

  private take<T extends Topic>(topic: T, answer: Heard[T]): void {
    const left = topic === 'running' && this.hasLeft(answer as Workload[]);
    if (topic === 'running' && this.hasCome(answer as Workload[])) {
      this.invalidate('journal', 'burnRate'); // the one knows of which cell that is, the other what it costs
    }
    const before = this.data[topic] && this.active();
    const rented = this.rented();
    this.data[topic] = answer;
    if (this.rented() !== rented) {
      this.invalidate('burnRate');
    }
    if (topic === 'running') {
      delete this.data.begun;
    } else if (before && (topic === 'journal' || topic === 'history') && this.begins(before)) {
      this.invalidate('running');
    }
    const { status } = this.data;
    if (status?.state === 'signed-in') {
      this.account = `${status.base_url} ${status.organization?.slug ?? ''}`;
    }
    delete this.troubles[topic];
    this._changed.emit(topic);
    if (left) {
      void this.refresh('history', 'journal', 'balance', 'burnRate');
    } else if (topic === 'burnRate' && this.seeks(answer as BurnRateContent)) {
      void this.refresh('running', 'history', 'journal', 'balance', 'burnRate');
    }
  }

  /** The VMs and deployments that were heard, with their states, by which they are billed or not. */
  private rented(): string {
    const { vms, deployments } = this.data;
    const machines = vms?.vms?.map(vm => `${vm.vm_id} ${vm.status}`) ?? [];
    const models = deployments?.deployments?.map(model => `${model.deployment_id} ${model.status}`) ?? [];
    return [...machines, ...models].join();
  }

  /** The runs that are active, as far as other lists than that of the active ones tell. */
  private active(): Set<string> {
    const { status, journal, history } = this.data;
    const runs = runsOf({ status, journal, history });
    return new Set(runs.filter(run => run.goingOn).map(run => run.id));
  }

  /** Whether a run is active that was in no list before; it has not ended because the older list lacks it. */
  private begins(before: ReadonlySet<string>): boolean {
    const begun = [...this.active()].filter(id => !before.has(id));
    this.data.begun = new Set([...(this.data.begun ?? []), ...begun]);
    return begun.length > 0;
  }

  /** Whether a run is billed that no list had: one that begins and ends between two lists is in none of them. */
  private seeks({ things }: BurnRateContent): boolean {
    const listed = new Set(this.data.running?.map(run => run.execution_id));
    const ids = things?.filter(({ kind, id }) => kind === 'run' && !listed.has(id) && !this.sought.has(id)) ?? [];
    ids.forEach(({ id }) => this.sought.add(id));
    return ids.length > 0;
  }

  /** Whether a run is in the list that was not. */
  private hasCome(running: Workload[]): boolean {
    return running.some(run => !this.data.running?.some(before => before.execution_id === run.execution_id));
  }

  /** Whether a run is not in the list any more, so that others know how it ended. */
  private hasLeft(running: Workload[]): boolean {
    return !!this.data.running?.some(run => !running.some(still => still.execution_id === run.execution_id));
  }
}

function behindApi(path: string | null | undefined): string | null {
  return path ? `api/${path}` : null;
}
