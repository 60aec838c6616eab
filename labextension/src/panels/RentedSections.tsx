/** Deployments and VMs, which cost credits until stopped. */
import React, { useState } from 'react';

import { readBalance } from '../balance';
import { Topic } from '../cloudTypes';
import { COMMANDS, asUiCall } from '../commands';
import type { IconName } from '../components/Icon';
import { OfferForm } from '../components/OfferForm';
import { QuestionContent, Question } from '../components/Question';
import { Row, Rows, StartButton } from '../components/Rows';
import { Ask, request } from '../request';
import { isId, stateLabel } from '../runs';
import { trans } from '../trans';
import { Deployment, RentOffer, RentOffers, Rented, VM } from '../types';
import { credits, machineName } from '../format';
import type { Tools } from './tools';

export function DeploymentsSection({ tools }: { tools: Tools }) {
  const deployments = tools.cloud.data.deployments?.deployments;
  const stop = ({ deployment_id: id, hf_model_id: model }: Deployment): Ending => ({
    icon: 'stopped',
    text: trans.__('Stop %1? The model then no longer answers requests, and billing ends.', model),
    yes: trans.__('Stop'),
    label: trans.__('Stop %1', model),
    path: 'api/inference/stop',
    ask: { method: 'DELETE', body: { deployment_id: id } }
  });
  return (
    <RentedList
      label={trans.__('Deployments')}
      none={trans.__('No deployments.')}
      topic="deployments"
      start={{ title: trans.__('Deploy a model'), verb: trans.__('Deploy'), path: 'rent/deployments' }}
      tools={tools}
      rows={deployments?.map(one => ({
        key: one.deployment_id,
        title: one.hf_model_id || one.deployment_id,
        ...stateFacts(one.status, [
          machineName(one.hardware_profile ?? ''),
          priceWords(tools, one.deployment_id),
          endWords(tools, one.deployment_id),
          replicaWords(one)
        ]),
        ending: stop(one)
      }))}
    />
  );
}

export function VmsSection({ tools }: { tools: Tools }) {
  const vms = tools.cloud.data.vms?.vms;
  const terminate = (vm: VM): Ending => ({
    icon: 'remove',
    text: trans.__('Delete %1 and its disk permanently? Its volumes remain and cost credits.', vmName(vm)),
    yes: trans.__('Delete'),
    label: trans.__('Delete %1', vmName(vm)),
    path: `api/vms/${encodeURIComponent(vm.vm_id)}`,
    ask: { method: 'DELETE' }
  });
  return (
    <RentedList
      label={trans.__('VMs')}
      none={trans.__('No VMs.')}
      topic="vms"
      start={{ title: trans.__('Rent a VM'), verb: trans.__('Rent'), path: 'rent/vms' }}
      tools={tools}
      rows={vms?.map(vm => ({
        key: vm.vm_id,
        title: vmName(vm),
        ...stateFacts(vm.status, [
          gpuWords(vm),
          priceWords(tools, vm.vm_id),
          costWords(vm),
          endWords(tools, vm.vm_id),
          vm.ip_address
        ]),
        ending: terminate(vm),
        use: isId(vm.vm_id)
          ? {
              words: trans.__('Log in (insert a cell)'),
              name: trans.__('Log in to %1: insert a cell that shows the ssh command', vmName(vm)),
              code: `%load_ext lk_jupyter\n%lk_vm ssh ${vm.vm_id}`
            }
          : undefined
      }))}
    />
  );
}

/**
 * The request that stops a deployment or VM, and the question before the request; `label` is the name of the button.
 */
type Ending = { icon: IconName; text: string; yes: string; label: string; path: string; ask: Ask };

interface RentedProps {
  label: string;
  none: React.ReactNode;
  topic: Topic;
  /** The form that starts another one. */
  start: { title: string; verb: string; path: string };
  tools: Tools;
  rows: (Omit<Row, 'acts'> & { ending: Ending; use?: { words: string; name: string; code: string } })[] | undefined;
}

/** A list of deployments or VMs with stop buttons, and a button that starts another one. */
function RentedList({ label, none, topic, start, tools: { cloud, commands, say, onActs }, rows }: RentedProps) {
  const [question, setQuestion] = useState<QuestionContent | null>(null);
  const [offers, setOffers] = useState<RentOffers | null>(null);
  const [isBusy, setBusy] = useState(false);
  const busily = async (work: () => Promise<unknown>) => {
    setBusy(true);
    try {
      await work();
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    } finally {
      setBusy(false);
    }
  };
  const ask = async () => {
    say({ kind: 'info', text: '' });
    const answer = await request<RentOffers>(start.path);
    if (!answer.offers.length) {
      throw new Error(trans.__('Nothing is available now. Try again in a few minutes.'));
    }
    setOffers(answer);
  };
  const rent = async ({ id: offer, per_hour, seconds, end }: RentOffer) => {
    setOffers(null);
    const { name } = await request<Rented>(start.path, { method: 'POST', body: { offer, per_hour, seconds } });
    say({ kind: 'info', text: trans.__('%1 is starting. %2', name, end) });
    await cloud.refresh(topic, 'balance', 'burnRate');
  };
  const end = async ({ path, ask }: Ending) => {
    say({ kind: 'info', text: '' });
    try {
      await request(path, ask);
      await cloud.refresh(topic, 'running', 'balance', 'burnRate');
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  return (
    <>
      {question && <Question key={question.text} question={question} onEnd={() => setQuestion(null)} />}
      <Rows
        label={label}
        none={offers ? null : none}
        onMenu={onActs}
        rows={rows?.map(({ ending, use, ...row }) => ({
          ...row,
          acts: [
            ...(use
              ? [
                  {
                    ...use,
                    icon: 'code' as const,
                    onAct: () => void commands.execute(COMMANDS.insert, asUiCall({ code: use.code }))
                  }
                ]
              : []),
            {
              icon: ending.icon,
              words: ending.yes,
              name: ending.label,
              onAct: () => setQuestion({ ...ending, onYes: () => void end(ending) })
            }
          ]
        }))}
      />
      {offers ? (
        <OfferForm
          {...start}
          {...offers}
          balance={readBalance(cloud.data.balance)}
          onStart={offer => void busily(() => rent(offer))}
          onCancel={() => setOffers(null)}
        />
      ) : (
        <StartButton label={start.title} isBusy={isBusy} onClick={() => void busily(ask)} />
      )}
    </>
  );
}

/** States that an icon shows. */
const STATE_ICONS: Record<string, IconName> = {
  ...{ running: 'running', ready: 'running', active: 'running' },
  ...{ pending: 'waiting', failed: 'failed', error: 'failed' }
};

/** Return the state of a deployment or VM as an icon, and its facts. A state without an icon is a fact. */
function stateFacts(status: string | null | undefined, facts: Row['facts']): Pick<Row, 'state' | 'facts'> {
  const words = stateLabel(status);
  const icon = STATE_ICONS[words.toLowerCase()];
  return icon ? { state: { icon, words }, facts } : { state: { icon: 'waiting', words: '' }, facts: [words, ...facts] };
}

function replicaWords({ current_replicas: now, min_replicas: min, max_replicas: max }: Deployment): string {
  if (now == null || min == null || max == null) {
    return '';
  }
  return trans._n('%2 of %3 replica', '%2 of %3 replicas', max, now, min === max ? max : `${min}–${max}`);
}

function vmName(vm: VM): string {
  return vm.display_name || vm.name || vm.vm_id;
}

/** Return the GPUs of a VM. Its profile is the name of the GPU kind. */
function gpuWords({ hardware_profile: profile, gpu_count: count }: VM): string | null {
  return profile ? `${count && count > 1 ? `${count} × ` : ''}${machineName(profile).toUpperCase()}` : null;
}

/** Return the current price per hour of a deployment or VM, if billed. */
function priceWords({ cloud }: Tools, id: string): string | null {
  const price = cloud.data.burnRate?.things.find(thing => thing.id === id)?.per_hour;
  return price ? trans.__('%1 credits/h', String(Number(price))) : null;
}

/** Return the stated end of a deployment or VM, and who enforces the end. */
function endWords({ cloud }: Tools, id: string): string | null {
  const end = cloud.data.burnRate?.things.find(thing => thing.id === id)?.end;
  return end ? trans.__('ends at %1', end) : null;
}

/** Return the credits that a VM has cost so far. */
function costWords(vm: VM): string | null {
  const cost = vm.croesus_billed ?? vm.billed ?? null;
  return cost === null ? null : trans.__('%1 credits', credits(cost));
}
