import React, { FormEvent, useState } from 'react';

import { trans } from '../trans';
import { SLOT, Sentence } from './Sentence';

export interface LoginProps {
  /** The server of the sign-in, from Python. */
  server: string;
  /** Name of the signed-in user; empty if no user is signed in. */
  account: string;
  onSignIn: (key: string) => Promise<unknown>;
  onLocal: () => Promise<unknown>;
  onSignOut: () => Promise<unknown>;
}

/** A form for an API key. The field is cleared when the key is sent, and no trait contains the key. */
export function Login({ server, account, onSignIn, onLocal, onSignOut }: LoginProps) {
  const [key, setKey] = useState('');
  const [busy, setBusy] = useState('');
  const during = (words: string, work: Promise<unknown>) => {
    setBusy(words);
    void work.catch(() => undefined).finally(() => setBusy(''));
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setKey('');
    during(trans.__('Checking the key …'), onSignIn(key));
  };
  if (account) {
    return (
      <div className="lk-row">
        <span>
          <Sentence text={trans.__('Signed in as %1 at %2', SLOT, server)}>
            <strong>{account}</strong>
          </Sentence>
        </span>
        <button type="button" disabled={!!busy} onClick={() => during(trans.__('Signing out …'), onSignOut())}>
          {trans.__('Sign out')}
        </button>
        <span role="status">{busy}</span>
      </div>
    );
  }
  return (
    <form className="lk-row" onSubmit={submit}>
      <label>
        {trans.__('API key for %1', server)}{' '}
        <input
          type="password"
          autoComplete="off"
          placeholder="lk_…"
          value={key}
          onInput={event => setKey((event.target as HTMLInputElement).value)}
        />
      </label>
      <button type="submit" className="lk-main" disabled={!key || !!busy}>
        {trans.__('Sign in')}
      </button>
      <button type="button" disabled={!!busy} onClick={() => during(trans.__('Starting the local cloud …'), onLocal())}>
        {trans.__('Use the free local cloud')}
      </button>
      <span role="status">{busy}</span>
    </form>
  );
}
