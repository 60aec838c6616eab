/** The plugins, one for each area of Lab and Notebook; they share modules that other front ends lack. */
import { badges } from './badges';
import { cloudPlugin } from './cloud';
import { drive } from './drive';
import { editor } from './editor';
import { headers } from './headers';
import { hints } from './hints';
import { kernels } from './kernels';
import { notebookToolbar } from './notebookToolbar';
import { panel } from './panel';
import { running } from './running';
import { runs } from './runs';
import { savedWidgets } from './savedWidgets';
import { snapshots } from './snapshots';
import { status } from './status';
import { widgets } from './widgets';

export const plugins = [
  badges,
  cloudPlugin,
  drive,
  editor,
  headers,
  hints,
  kernels,
  notebookToolbar,
  panel,
  running,
  runs,
  savedWidgets,
  snapshots,
  status,
  ...widgets
];
