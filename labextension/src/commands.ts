/** The commands by their names; a plugin each adds those of its place. */
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
  runHere: 'lk:run-here',
  attach: 'lk:attach',
  insert: 'lk:insert-code',
  signOut: 'lk:sign-out',
  useLocalCloud: 'lk:use-local-cloud',
  switchOrganization: 'lk:switch-organization',
  refresh: 'lk:refresh'
} as const;
