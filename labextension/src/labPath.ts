import { PageConfig } from '@jupyterlab/coreutils';

/** Return the path of a notebook relative to the folder in which Lab was started. */
export function toLabPath(notebook: string): string {
  const root = PageConfig.getOption('serverRoot').replace(/^~/, '');
  const at = root ? notebook.indexOf(`${root}/`) : -1;
  return at < 0 ? notebook.replace(/^\/+/, '') : notebook.slice(at + root.length + 1);
}
