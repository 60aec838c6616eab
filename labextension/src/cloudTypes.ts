/** Types of the cloud's data: the answers that Cloud reads, and the rows that runs of all lists are merged into. */
import { IDisposable } from '@lumino/disposable';
import { ISignal } from '@lumino/signaling';

import { Bill, Stamps } from './bill';
import { Trouble } from './request';
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

/** The answer to each topic. */
export interface CloudData {
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
export type Topic = keyof CloudData;

/** Facts on active runs that no list contains. */
export interface RunRecords {
  /** Run → record, for the start of the code: billing starts there. */
  records?: ReadonlyMap<string, ExecutionRecord>;
  /** Runs that started after the list of active runs was read, so their absence from that list proves nothing. */
  newRuns?: ReadonlySet<string>;
}

/** The part of Cloud that a store of runs reads. */
export interface CloudFeed {
  readonly data: Partial<CloudData> & RunRecords;
  readonly troubles: Partial<Record<Topic, Trouble>>;
  readonly account: string;
  readonly signedIn: boolean | null;
  /** Unix milliseconds of a request that has had no answer for a while; null while the cloud answers. */
  readonly unansweredSince: number | null;
  readonly changed: ISignal<CloudFeed, Topic>;
  subscribe(...topics: Topic[]): IDisposable;
}

/** A run as lists show it. The bill of an active run keeps growing. */
export interface RunRow {
  id: string;
  name: string;
  /** Name that the author gave the run; empty without a name. */
  runName: string;
  /** First line of the code that isn't an import; empty if only the cloud knows the run. */
  line: string;
  /** Last value of the run's score, such as `accuracy 0.96`; empty without a score. */
  score: string;
  /** Labels and note of the user; empty without both. */
  note: string;
  state: string;
  isActive: boolean;
  /** Reason of a failure; empty after a success, or if the reason is unknown. */
  reason: string;
  machine: string;
  pricePerHour: number | null;
  /** Unix seconds of the submission by the clock of the Jupyter server. The stamps of the cloud may differ. */
  submittedAt: number | null;
  /** The server's record; without a record, the bill is `storedBill`. */
  record: Stamps | null;
  storedBill: Bill;
  created: number;
  notebook: string | null;
  cellId: string | null;
  /** Id that runs share if they were started together. */
  group: string | null;
  /** The machines of the executor that the run belongs to, with their maximum price; empty for other runs. */
  pool: string;
  /** All runs of a row that shows several machines of an executor. */
  members?: RunRow[];
}
