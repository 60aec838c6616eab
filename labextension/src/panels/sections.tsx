/** The sections of the sidebar: content, count and actions. */
import type { LabIcon } from '@jupyterlab/ui-components';
import React, { ComponentType, useEffect, useMemo, useState } from 'react';

import { Cloud } from '../cloud';
import { Topic } from '../cloudTypes';
import { COMMANDS, asUiCall } from '../commands';
import { NO_BILL } from '../bill';
import { RunList } from '../components/RunList';
import { Silence } from '../components/Silence';
import { silentFor } from '../header';
import { eachSecond, thisSecond } from '../serverClock';
import { computePoolBill, foldPools } from '../pools';
import { mergeRuns } from '../runs';
import { trans } from '../trans';
import { AccountSection } from './AccountSection';
import { KeysList } from './KeysList';
import { MachinesSection } from './MachinesSection';
import { DeploymentsSection, VmsSection } from './RentedSections';
import { StorageSection } from './StorageSection';
import type { Tools } from './tools';

export interface SectionSpec {
  id: string;
  title: string;
  /** Topics of the open section, in addition to the panel's topics. */
  topics: Topic[];
  /** Whether the section is open initially. */
  isOpen: boolean;
  /** Buttons next to the title. */
  count: (cloud: Cloud) => string;
  actions: { name: string; icon?: LabIcon; act: (tools: Tools) => Promise<unknown> }[];
  Body: ComponentType<{ tools: Tools }>;
}

const hearing =
  (...topics: Topic[]) =>
  ({ cloud }: Tools) =>
    cloud.refresh(...topics);

/** Return the number of items; empty before the first answer. */
const counted = (things: unknown[] | undefined) => (things?.length ? String(things.length) : '');

export const sectionSpecs = (): SectionSpec[] => [
  {
    ...{ id: 'runs', title: trans.__('Runs'), topics: [], isOpen: true, Body: Runs },
    count: ({ data }) => (data.running?.length ? trans.__('%1 active', data.running.length) : ''),
    actions: [{ name: trans.__('Refresh the runs'), act: hearing('running', 'journal', 'history') }]
  },
  {
    ...{ id: 'machines', title: trans.__('Machines'), topics: [], isOpen: false, Body: MachinesSection },
    count: ({ data }) => counted(data.machines?.machine_types),
    actions: []
  },
  {
    ...{ id: 'storage', title: trans.__('Storage'), topics: [], isOpen: false, Body: StorageSection },
    count: () => '',
    actions: []
  },
  {
    ...{ id: 'deployments', title: trans.__('Deployments'), topics: ['deployments'], isOpen: false },
    Body: DeploymentsSection,
    count: ({ data }) => counted(data.deployments?.deployments),
    actions: [{ name: trans.__('Refresh the deployments'), act: hearing('deployments') }]
  },
  {
    ...{ id: 'vms', title: trans.__('VMs'), topics: ['vms'], isOpen: false, Body: VmsSection },
    count: ({ data }) => counted(data.vms?.vms),
    actions: [{ name: trans.__('Refresh the VMs'), act: hearing('vms') }]
  },
  {
    ...{ id: 'keys', title: trans.__('Keys'), topics: [], isOpen: false, Body: KeysList },
    count: () => '',
    actions: []
  },
  {
    ...{ id: 'account', title: trans.__('Account'), topics: [], isOpen: false, Body: AccountSection },
    count: ({ data }) => data.status?.organization?.name ?? '',
    actions: []
  }
];

function Runs({ tools: { cloud, commands, say, isVisible: shown, onMenu, getCount } }: { tools: Tools }) {
  const [now, setNow] = useState(thisSecond());
  const { status, running, journal, history, machines, records } = cloud.data;
  const runs = useMemo(
    () => (history || journal || running ? foldPools(mergeRuns(cloud.data)) : null),
    [status, running, journal, history, machines, records]
  );
  const silence = silentFor({ now: Date.now(), silent: cloud.runs.silentSince });
  const isUnknown = silence !== null && runs?.some(run => run.isActive);
  const live = shown && runs?.some(run => run.isActive);
  useEffect(() => (live ? eachSecond(() => setNow(thisSecond())) : undefined), [live]);
  if (!runs) {
    return <p role="status">{trans.__('Asking the cloud …')}</p>;
  }
  const doing = (command: string) => (run: object) =>
    void commands
      .execute(command, asUiCall(run))
      .catch((failure: Error) => say({ kind: 'error', text: failure.message }));
  return (
    <>
      {isUnknown && <Silence seconds={silence} />}
      <RunList
        runs={runs}
        now={now}
        getBill={(run, at) => (isUnknown && run.isActive ? NO_BILL : computePoolBill(run, at))}
        getCount={getCount}
        onMenu={onMenu}
        onOpen={doing(COMMANDS.openRun)}
        onAbort={doing(COMMANDS.abortRun)}
        onRerun={doing(COMMANDS.rerunCell)}
        onGoToCell={doing(COMMANDS.goToCell)}
      />
    </>
  );
}
