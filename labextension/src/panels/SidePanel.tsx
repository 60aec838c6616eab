/** The sidebar: the sign-in, or sections of what is in the cloud. Loaded when it is first shown. */
import { ReactWidget } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import React, { useEffect, useState } from 'react';

import { Cloud, Topic } from '../cloud';
import { COMMANDS } from '../commands';
import { Login } from '../components/Login';
import { Notice, NoticeText } from '../components/Notice';
import { RunList } from '../components/RunList';
import { Section } from '../components/Section';
import { request, Trouble } from '../request';
import { runsOf } from '../runs';
import { trans } from '../trans';
import { StatusContent } from '../types';
import { credits, duration } from '../words';
import { AccountSection } from './AccountSection';
import { MachinesSection, NOTHING_PICKED } from './MachinesSection';
import { DeploymentsSection, VmsSection } from './RentedSections';
import { StorageSection } from './StorageSection';
import { useFolders } from './useFolders';

/** What the parts of the panel work with. */
export interface Tools {
  cloud: Cloud;
  commands: CommandRegistry;
  say: (notice: NoticeText) => void;
  /** Whether the panel is seen; what is not asks for nothing. */
  shown: boolean;
}

export class SidePanel extends ReactWidget {
  private wish: IDisposable | null = null;

  constructor(
    private readonly cloud: Cloud,
    private readonly commands: CommandRegistry
  ) {
    super();
    this.addClass('lk');
    this.addClass('lk-panel');
  }

  protected render() {
    return <Panel cloud={this.cloud} commands={this.commands} shown={this.isVisible} />;
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.listen();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.listen();
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.listen();
  }

  /** Want news while the panel is seen, and none while it is not. */
  private listen(): void {
    this.wish?.dispose();
    this.wish = this.isVisible ? this.cloud.want('running', 'journal', 'history', 'balance', 'machines') : null;
    this.update();
  }

  dispose(): void {
    this.wish?.dispose();
    super.dispose();
  }
}

/** Draw anew at every change of what was heard, while it is seen. */
function useCloud(cloud: Cloud, shown: boolean): void {
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => redraw(count => count + 1);
    if (shown) {
      cloud.changed.connect(changed);
    }
    return () => void cloud.changed.disconnect(changed);
  }, [cloud, shown]);
}

function Panel({ cloud, commands, shown }: { cloud: Cloud; commands: CommandRegistry; shown: boolean }) {
  useCloud(cloud, shown);
  const [notice, say] = useState<NoticeText>({ kind: 'info', text: '' });
  const tools = { cloud, commands, say, shown };
  const trouble = cloud.trouble;
  return (
    <>
      <h2>{trans.__('GPU cloud')}</h2>
      <Notice notice={notice} />
      {trouble && trouble.state !== 'signed-out' && <Broken trouble={trouble} tools={tools} />}
      {cloud.signedIn === false && <SignIn tools={tools} />}
      {cloud.signedIn === null && !trouble && <p role="status">{trans.__('Asking the cloud …')}</p>}
      {cloud.signedIn && <Sections tools={tools} />}
    </>
  );
}

function Broken({ trouble, tools: { cloud } }: { trouble: Trouble; tools: Tools }) {
  const [busy, setBusy] = useState(false);
  const retry = () => {
    setBusy(true);
    void cloud.hear('status', ...(Object.keys(cloud.troubles) as Topic[])).finally(() => setBusy(false));
  };
  return (
    <div className="lk-trouble">
      <Notice notice={{ kind: trouble.state === 'revoked' ? 'warning' : 'error', text: trouble.message }} />
      <button type="button" disabled={busy} onClick={retry}>
        {busy ? trans.__('Asking …') : trans.__('Try again')}
      </button>
    </div>
  );
}

function SignIn({ tools: { cloud, say } }: { tools: Tools }) {
  const become = async (path: string, body?: unknown) => {
    try {
      const status = await request<StatusContent>(path, { method: 'POST', body });
      say({ kind: 'info', text: (status.said ?? []).join(' ') });
      await cloud.become(status);
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  return (
    <>
      <p>
        {trans.__(
          'Run cells on GPUs and pay by the second. Sign in with an API key of your account, or try it for free here.'
        )}
      </p>
      <Login
        server={cloud.data.status?.base_url ?? ''}
        account=""
        onSignIn={key => become('signin', { api_key: key })}
        onLocal={() => become('local')}
        onSignOut={() => become('signout')}
      />
    </>
  );
}

function Sections({ tools }: { tools: Tools }) {
  const { cloud, shown } = tools;
  const [picked, pick] = useState(NOTHING_PICKED);
  const bucket = useFolders(cloud.account);
  const listening = (topic: Topic) => {
    const wanted = cloud.want(topic);
    return () => wanted.dispose();
  };
  const wish = (topic: Topic) => (shown ? () => listening(topic) : undefined);
  return (
    <>
      <Section title={trans.__('Runs')} open>
        <Runs tools={tools} />
      </Section>
      <Section title={trans.__('Machines')}>
        <MachinesSection tools={tools} picked={picked} onPick={change => pick(before => ({ ...before, ...change }))} />
      </Section>
      <Section title={trans.__('Storage')}>
        <StorageSection key={cloud.account} tools={tools} bucket={bucket} />
      </Section>
      <Section title={trans.__('Deployments')} onOpen={wish('deployments')}>
        <DeploymentsSection tools={tools} />
      </Section>
      <Section title={trans.__('VMs')} onOpen={wish('vms')}>
        <VmsSection tools={tools} />
      </Section>
      <Section title={trans.__('Account')} open>
        <AccountSection tools={tools} />
      </Section>
    </>
  );
}

function Runs({ tools: { cloud, commands, say, shown } }: { tools: Tools }) {
  const [now, setNow] = useState(Date.now() / 1000);
  const runs = cloud.data.history || cloud.data.journal || cloud.data.running ? runsOf(cloud.data) : null;
  const live = shown && runs?.some(run => run.goingOn);
  useEffect(() => {
    const clock = live ? window.setInterval(() => setNow(Date.now() / 1000), 1000) : 0;
    return () => window.clearInterval(clock);
  }, [live]);
  if (!runs) {
    return <p role="status">{trans.__('Asking the cloud …')}</p>;
  }
  const doing = (command: string) => (run: object) =>
    void commands.execute(command, { ...run }).catch((failure: Error) => say({ kind: 'error', text: failure.message }));
  return (
    <RunList
      runs={runs}
      now={now}
      duration={duration}
      credits={credits}
      onOpen={doing(COMMANDS.openRun)}
      onAbort={doing(COMMANDS.abortRun)}
      onRerun={doing(COMMANDS.rerunCell)}
      onGoToCell={doing(COMMANDS.goToCell)}
    />
  );
}
