/** What the pages know of the cloud: the answers that Cloud reads, and the runs that its lists are joined into. */
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
  readonly changed: ISignal<CloudFeed, Topic>;
  subscribe(...topics: Topic[]): IDisposable;
}

/** A run as lists show it: its bill counts on while it is active. */
export interface RunRow {
  id: string;
  name: string;
  /** First line of its code; empty where only the cloud knows the run. */
  line: string;
  state: string;
  isActive: boolean;
  /** Why it did not end well; empty where it did, or nobody knows. */
  reason: string;
  machine: string;
  pricePerHour: number | null;
  /** When it was sent, by the clock of the Jupyter server, from which its stamps may differ. */
  submittedAt: number | null;
  /** What the server keeps of it; without, the bill is what was kept here. */
  record: Stamps | null;
  storedBill: Bill;
  created: number;
  notebook: string | null;
  cellId: string | null;
  /** Shared by runs that were started together. */
  group: string | null;
}
