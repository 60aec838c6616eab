import React, { useEffect, useState } from 'react';

import { COMMANDS, asUiCall } from '../commands';
import { request } from '../request';
import { trans } from '../trans';
import { MyOrg, StatusContent } from '../types';
import type { Tools } from './tools';

/** The signed-in user and organization. */
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
      const newStatus = await request<StatusContent>('organization', { method: 'POST', body: { slug: slug || null } });
      say({ kind: newStatus.said?.length ? 'warning' : 'info', text: (newStatus.said ?? []).join(' ') });
      await cloud.replaceStatus(newStatus);
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  return (
    <>
      <dl className="lk-known">
        <dt>{trans.__('Account')}</dt>
        <dd>{status.user?.email ?? status.user?.user_id ?? trans.__('unknown')}</dd>
        <dt>{trans.__('Server')}</dt>
        <dd>{status.is_local ? trans.__('Local cloud on this machine') : status.base_url}</dd>
      </dl>
      {status.organization?.is_key_scoped ? (
        <p className="lk-quiet">
          {status.organization.name
            ? trans.__('This API key works only for %1.', status.organization.name)
            : trans.__('This API key works for only one organization.')}
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
        <button type="button" onClick={() => void commands.execute(COMMANDS.signOut, asUiCall())}>
          {trans.__('Sign out')}
        </button>
      </div>
    </>
  );
}
