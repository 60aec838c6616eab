/** The head of the panel: balance, errors, or the sign-in. */
import React, { useState } from 'react';

import {
  readBalance,
  readBudget,
  burnRateWords,
  creditsWords,
  currentBurnRate,
  endWords,
  timeRemaining
} from '../balance';
import { Topic } from '../cloudTypes';
import { COMMANDS, asUiCall } from '../commands';
import { Login } from '../components/Login';
import { Notice, NoticeText } from '../components/Notice';
import { momentLabel } from '../format';
import { request, Trouble } from '../request';
import { serverNow } from '../serverClock';
import { trans } from '../trans';
import { StatusContent } from '../types';
import type { Tools } from './tools';

export function Head({ tools, notice }: { tools: Tools; notice: NoticeText }) {
  const { trouble, signedIn } = tools.cloud;
  return (
    <>
      <h2 className="lk-unseen">{trans.__('GPU cloud')}</h2>
      {signedIn && <Money tools={tools} />}
      {signedIn && <StopAll tools={tools} />}
      {signedIn &&
        tools.cloud.data.burnRate?.overdue?.map(text => <Notice key={text} notice={{ kind: 'error', text }} />)}
      {signedIn &&
        tools.cloud.data.burnRate?.warnings?.map(text => <Notice key={text} notice={{ kind: 'warning', text }} />)}
      {signedIn && <LowCredits tools={tools} />}
      <Notice notice={notice} />
      {trouble && trouble.state !== 'signed-out' && <Broken trouble={trouble} tools={tools} />}
      {signedIn === false && <SignIn tools={tools} />}
      {signedIn === null && !trouble && <p role="status">{trans.__('Asking the cloud …')}</p>}
    </>
  );
}

/** Balance, burn rate, and the time that the balance lasts. */
function Money({ tools: { cloud } }: { tools: Tools }) {
  const remaining = readBalance(cloud.data.balance);
  const budget = readBudget(cloud.data.balance);
  const burnRate = currentBurnRate(cloud.data);
  const isBurning = !!burnRate?.things.length;
  const end = burnRate ? endWords(remaining, burnRate, serverNow()) : null;
  return (
    <dl className="lk-head">
      <div>
        <dt>{trans.__('Balance')}</dt>
        <dd>{remaining === null ? '…' : creditsWords(remaining, budget)}</dd>
      </div>
      {budget?.renews_at && (
        <div>
          <dt>{trans.__('Renews')}</dt>
          <dd title={momentLabel(budget.renews_at)}>
            {momentLabel(budget.renews_at, { weekday: 'short', day: 'numeric', month: 'short' })}
          </dd>
        </div>
      )}
      <div>
        <dt>{trans.__('Burn rate')}</dt>
        <dd title={trans.__('Credits per hour for everything that is active and billed now')}>
          {burnRate ? (isBurning ? burnRateWords(burnRate) : '0') : '…'}
        </dd>
      </div>
      <div>
        <dt>{trans.__('Lasts')}</dt>
        <dd title={end ? trans.__('The credits last until %1 at the current rate', end) : ''}>
          {(burnRate && timeRemaining(remaining, burnRate)) ?? '–'}
        </dd>
      </div>
    </dl>
  );
}

/** A button that stops everything that is billed by time, while anything is active. */
function StopAll({ tools: { cloud, commands } }: { tools: Tools }) {
  const { burnRate, running } = cloud.data;
  return burnRate?.stoppable || running?.length ? (
    <div className="lk-row">
      <button type="button" onClick={() => void commands.execute(COMMANDS.stopAll, asUiCall())}>
        {trans.__('Stop all …')}
      </button>
    </div>
  ) : null;
}

/** A warning if the credits last less than an hour. The figures are above. */
function LowCredits({ tools: { cloud } }: { tools: Tools }) {
  const remaining = readBalance(cloud.data.balance);
  const perHour = Number(currentBurnRate(cloud.data)?.per_hour ?? 0);
  if (remaining === null || (remaining > 0 && remaining >= perHour)) {
    return null;
  }
  const fact = remaining > 0 ? trans.__('Your credits last less than an hour.') : trans.__('No credits are left.');
  const advice = readBudget(cloud.data.balance)
    ? trans.__('The operator of this cloud can grant more credits.')
    : trans.__('Buy credits: %1', TOP_UP);
  const text = `${fact} ${advice}`;
  return <Notice notice={{ kind: 'warning', text }} />;
}

const TOP_UP = '%lk_billing checkout 50';

function Broken({ trouble, tools: { cloud } }: { trouble: Trouble; tools: Tools }) {
  const [busy, setBusy] = useState(false);
  const retry = () => {
    setBusy(true);
    void cloud.refresh('status', ...(Object.keys(cloud.troubles) as Topic[])).finally(() => setBusy(false));
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
      await cloud.replaceStatus(status);
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
