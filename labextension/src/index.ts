import { badges } from './plugins/badges';
import { cloud } from './plugins/cloud';
import { drive } from './plugins/drive';
import { editor } from './plugins/editor';
import { notebookToolbar } from './plugins/notebookToolbar';
import { panel } from './plugins/panel';
import { running } from './plugins/running';
import { runs } from './plugins/runs';
import { snapshots } from './plugins/snapshots';
import { status } from './plugins/status';

export default [badges, cloud, drive, editor, notebookToolbar, panel, running, runs, snapshots, status];
