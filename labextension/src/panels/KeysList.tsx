import React, { useEffect, useState } from 'react';

import { QuestionContent, Question } from '../components/Question';
import { NameForm } from '../components/OfferForm';
import { Rows, StartButton } from '../components/Rows';
import { request } from '../request';
import { trans } from '../trans';
import { ApiKey, StoredKey } from '../types';
import type { Tools } from './tools';

/**
 * The API keys of the account, by their prefixes. The Jupyter server writes the secret of a new key to a file: the
 * secret doesn't pass through the page.
 */
export function KeysList({ tools: { say, onActs } }: { tools: Tools }) {
  const [keys, setKeys] = useState<ApiKey[]>();
  const [question, setQuestion] = useState<QuestionContent | null>(null);
  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work();
      setKeys(await request<ApiKey[]>('api/auth/api-keys/'));
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  const [isNaming, setNaming] = useState(false);
  const create = async (name: string) => {
    const { path } = await request<StoredKey>('rent/keys', { method: 'POST', body: { name } });
    say({
      kind: 'info',
      text: trans.__('Created the API key %1. Only you can read the file with its secret: %2', name, path)
    });
  };
  useEffect(() => void attempt(() => Promise.resolve()), []);
  const revoke = ({ id, key_name: name }: ApiKey) =>
    setQuestion({
      text: trans.__('Revoke the API key %1? Programs that use this key are signed out.', name),
      yes: trans.__('Revoke'),
      onYes: () => {
        say({ kind: 'info', text: '' });
        void attempt(() => request(`api/auth/api-keys/${encodeURIComponent(id)}`, { method: 'DELETE' }));
      }
    });
  return (
    <>
      {question && <Question key={question.text} question={question} onEnd={() => setQuestion(null)} />}
      <Rows
        label={trans.__('Keys')}
        onMenu={onActs}
        none={trans.__('No keys.')}
        rows={keys?.map(key => ({
          key: key.id,
          title: key.key_name || key.id,
          facts: [
            key.key_prefix ? `${key.key_prefix}…` : null,
            key.is_active === false ? trans.__('switched off') : null,
            key.last_used_at ? trans.__('used %1', formatDate(key.last_used_at)) : trans.__('never used'),
            key.expires_at && trans.__('until %1', formatDate(key.expires_at))
          ],
          acts: [
            {
              icon: 'remove',
              words: trans.__('Revoke'),
              name: trans.__('Revoke the key %1', key.key_name || key.id),
              onAct: () => revoke(key)
            }
          ]
        }))}
      />
      {isNaming ? (
        <NameForm
          title={trans.__('Create a key')}
          verb={trans.__('Create')}
          note={trans.__(
            'Programs sign in with an API key, which is free. The secret of the key is stored in a file on this Jupyter server.'
          )}
          onStart={name => {
            setNaming(false);
            void attempt(() => create(name));
          }}
          onCancel={() => setNaming(false)}
        />
      ) : (
        <StartButton label={trans.__('Create a key')} isBusy={false} onClick={() => setNaming(true)} />
      )}
    </>
  );
}

function formatDate(moment: string): string {
  return new Date(moment).toLocaleDateString();
}
