import React from 'react';

import { COMMANDS, asUiCall } from '../commands';
import { trans } from '../trans';
import type { Tools } from './tools';

const BROWSER = 'from lk_jupyter.widgets import StorageBrowser\n\nStorageBrowser()\n';

/** A link to the bucket: Lab's file browser, or the widget on pages without a file browser. */
export function StorageSection({ tools: { commands } }: { tools: Tools }) {
  const [words, act, command, args] = commands.hasCommand(COMMANDS.openBucket)
    ? [
        trans.__('You can open, upload and move files of the bucket like other files.'),
        trans.__('Open the bucket'),
        COMMANDS.openBucket,
        {}
      ]
    : [
        trans.__('This page has no file browser.'),
        trans.__('Insert the storage browser'),
        COMMANDS.insert,
        asUiCall({ code: BROWSER })
      ];
  return (
    <>
      <p>{words}</p>
      <button type="button" onClick={() => void commands.execute(command, args)}>
        {act}
      </button>
    </>
  );
}
