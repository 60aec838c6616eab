import React, { useEffect, useState } from 'react';

import { balanceOf } from '../balance';
import { COMMANDS } from '../commands';
import { request } from '../request';
import { trans } from '../trans';
import { MyOrg, StatusContent } from '../types';
import { credits } from '../words';
import { Section } from '../components/Section';
import { KeysList } from './KeysList';
import type { Tools } from './SidePanel';

/** Who is signed in, as which organization, and what is left. */
export function AccountSection({ tools }: { tools: Tools }) {
  const { cloud, commands, say } = tools;
  const [orgs, setOrgs] = useState<MyOrg[]>([]);
  const { status } = cloud.data;
  const asks = new AbortController();
  useEffect(() => {
    request<MyOrg[]>('api/orgs', { signal: asks.signal }).then(setOrgs, () => setOrgs([]));
    return () => asks.abort();
  }, [status?.user?.user_id]);
  if (!status) {
    return null;
  }
  const become = async (slug: string) => {
    try {
      const told = await request<StatusContent>('organization', { method: 'POST', body: { slug: slug || null } });
      say({ kind: told.said?.length ? 'warning' : 'info', text: (told.said ?? []).join(' ') });
      await cloud.become(told);
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  const left = balanceOf(cloud.data.balance);
  return (
    <>
      <dl className="lk-known">
        <dt>{trans.__('Account')}</dt>
        <dd>{status.user?.email ?? status.user?.user_id ?? trans.__('not told')}</dd>
        <dt>{trans.__('Server')}</dt>
        <dd>{status.is_local ? trans.__('Local cloud on this machine') : status.base_url}</dd>
        <dt>{trans.__('Balance')}</dt>
        <dd>{left === null ? '…' : trans.__('%1 credits', credits(left))}</dd>
        <dt>{trans.__('Key from')}</dt>
        <dd>{status.key_source || trans.__('not told')}</dd>
      </dl>
      {status.organization?.is_key_scoped ? (
        <p className="lk-quiet">
          {status.organization.name
            ? trans.__('This key belongs to %1 alone.', status.organization.name)
            : trans.__('This key belongs to one organization alone.')}
        </p>
      ) : (
        <label>
          {trans.__('Organization')}{' '}
          <select value={status.organization?.slug ?? ''} onChange={event => void become(event.target.value)}>
            {!orgs.some(org => org.slug === status.organization?.slug) && (
              <option value={status.organization?.slug ?? ''}>
                {status.organization?.name ?? trans.__('Default')}
              </option>
            )}
            {orgs.map(org => (
              <option key={org.id} value={org.slug}>
                {org.name}
              </option>
            ))}
          </select>
        </label>
      )}
      <div className="lk-row">
        <button type="button" onClick={() => void commands.execute(COMMANDS.signOut)}>
          {trans.__('Sign out')}
        </button>
      </div>
      <Section title={trans.__('Keys')}>
        <KeysList tools={tools} />
      </Section>
    </>
  );
}
