/** Lab's icons of 16 pixels in the colour of the surrounding text, the same in Lab and in widgets. */
import {
  addIcon,
  caretDownIcon,
  caretLeftIcon,
  caretRightIcon,
  caretUpIcon,
  checkIcon,
  circleEmptyIcon,
  closeIcon,
  codeIcon,
  copyIcon,
  deleteIcon,
  fileIcon,
  fileUploadIcon,
  filterIcon,
  folderIcon,
  launchIcon,
  newFolderIcon,
  refreshIcon,
  runIcon,
  stopIcon
} from '@jupyterlab/ui-components';
import React, { memo } from 'react';

import { entireIcon, minusIcon, starIcon, warningIcon } from '../icon';

const ICONS = {
  running: runIcon,
  waiting: circleEmptyIcon,
  done: checkIcon,
  failed: closeIcon,
  stopped: stopIcon,
  rerun: refreshIcon,
  goTo: launchIcon,
  open: launchIcon,
  star: starIcon,
  funnel: filterIcon,
  folder: folderIcon,
  newFolder: newFolderIcon,
  upload: fileUploadIcon,
  file: fileIcon,
  up: caretUpIcon,
  down: caretDownIcon,
  remove: deleteIcon,
  code: codeIcon,
  copy: copyIcon,
  left: caretLeftIcon,
  right: caretRightIcon,
  more: addIcon,
  less: minusIcon,
  entire: entireIcon,
  warning: warningIcon
};
export type IconName = keyof typeof ICONS;

/** Sign in a text → icon. */
const SIGNS: Record<string, IconName> = {
  '✓': 'done',
  '✗': 'failed',
  '■': 'stopped',
  '●': 'running',
  '◌': 'waiting',
  '⚠': 'warning'
};

export const Icon = memo(function Icon({ name }: { name: IconName }) {
  const { react: Shape } = ICONS[name];
  return (
    <span className={`lk-icon lk-icon-${name}`} aria-hidden="true">
      <Shape tag="span" />
    </span>
  );
});

/** Text that may start with a sign. An icon replaces the sign, because the text repeats the meaning. */
export function Signed({ text }: { text: string }) {
  const name = SIGNS[text[0]];
  return name ? (
    <>
      <Icon name={name} /> {text.slice(1).trimStart()}
    </>
  ) : (
    <>{text}</>
  );
}

/** A button with an icon. The name is also the tooltip. */
export function IconButton({
  icon,
  name,
  ...rest
}: { icon: IconName; name: string } & React.ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" className="lk-icon-button" aria-label={name} title={name} {...rest}>
      <Icon name={icon} />
    </button>
  );
}
