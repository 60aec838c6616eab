/** Ids of the commands. Each plugin adds the commands of its area. */
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
  stopAll: 'lk:stop-all',
  copyRunId: 'lk:copy-run-id',
  rerunCell: 'lk:run-cell-again',
  goToCell: 'lk:go-to-cell',
  runOn: 'lk:run-on',
  chooseMachine: 'lk:choose-machine',
  runLocally: 'lk:run-here',
  attach: 'lk:attach',
  useRun: 'lk:use-run',
  rerunLonger: 'lk:rerun-longer',
  insert: 'lk:insert-code',
  signOut: 'lk:sign-out',
  useLocalCloud: 'lk:use-local-cloud',
  switchOrganization: 'lk:switch-organization',
  refresh: 'lk:refresh'
} as const;

/**
 * Marks calls by our own buttons. A notebook can link to commands with arguments of its choice, but can't know this id.
 */
const CALLER = UUID.uuid4();

/** Return the arguments of a call by a button, a menu or the palette, where the user has read the action. */
export function asUiCall(args: object = {}): ReadonlyJSONObject {
  return { ...args, caller: CALLER };
}

/**
 * Return whether one of our own buttons calls a command. Otherwise the command needs a confirmation before it starts,
 * spends or writes.
 */
export function isUiCall({ caller }: { caller?: unknown }): boolean {
  return caller === CALLER;
}
