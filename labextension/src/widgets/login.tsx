import React from 'react';

import { Login } from '../components/Login';
import { Props, widget } from './view';

type Traits = { server: string; account: string };

function LoginWidget({ server, account, ask }: Props<Traits>) {
  return (
    <Login
      server={server}
      account={account}
      onSignIn={key => ask('sign_in', { key })}
      onLocal={() => ask('use_local_cloud')}
      onSignOut={() => ask('sign_out')}
    />
  );
}

export default widget<Traits>(LoginWidget, ['server', 'account']);
