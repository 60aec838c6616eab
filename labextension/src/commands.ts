/** The commands by their names; a plugin each adds those of its place. */
import { ReadonlyJSONObject, UUID } from '@lumino/coreutils';

export const COMMANDS = {
  openPanel: 'lk:open-panel',
  openBucket: 'lk:open-bucket',
  previewFile: 'lk:preview-file',
  loadFile: 'lk:load-file',
  copyRunPath: 'lk:copy-run-path',
  openQuickstart: 'lk:open-quickstart',
  openRun: 'lk:open-run',
  abortRun: 'lk:abort-run',
  copyRunId: 'lk:copy-run-id',
  rerunCell: 'lk:run-cell-again',
  goToCell: 'lk:go-to-cell',
  runOn: 'lk:run-on',
  runLocally: 'lk:run-here',
  attach: 'lk:attach',
  insert: 'lk:insert-code',
  signOut: 'lk:sign-out',
  useLocalCloud: 'lk:use-local-cloud',
  switchOrganization: 'lk:switch-organization',
  refresh: 'lk:refresh'
} as const;

/** Marks calls by our own buttons. A notebook can link to commands with arguments of its choice, but can't know this. */
const CALLER = UUID.uuid4();

/** Return the arguments of a call by a button, a menu or the palette, whose user has read what it does. */
export function asUiCall(args: object = {}): ReadonlyJSONObject {
  return { ...args, caller: CALLER };
}

/** Whether one of our own buttons calls a command. If not, the command asks before it starts, spends or writes. */
export function isUiCall({ caller }: { caller?: unknown }): boolean {
  return caller === CALLER;
}
