/** The icons of Lab that our components use. Lab's own package is too large for a widget. */
import React from 'react';

import add from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/add.svg';
import caretDown from '../../node_modules/@jupyterlab/ui-components/style/icons/arrow/caret-down.svg';
import caretLeft from '../../node_modules/@jupyterlab/ui-components/style/icons/arrow/caret-left.svg';
import caretRight from '../../node_modules/@jupyterlab/ui-components/style/icons/arrow/caret-right.svg';
import caretUp from '../../node_modules/@jupyterlab/ui-components/style/icons/arrow/caret-up.svg';
import check from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/check.svg';
import circleEmpty from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/circle-empty.svg';
import close from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/close.svg';
import code from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/code.svg';
import copy from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/copy.svg';
import remove from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/delete.svg';
import ellipses from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/ellipses.svg';
import file from '../../node_modules/@jupyterlab/ui-components/style/icons/filetype/file.svg';
import fileUpload from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/file-upload.svg';
import filter from '../../node_modules/@jupyterlab/ui-components/style/icons/search/filter.svg';
import folder from '../../node_modules/@jupyterlab/ui-components/style/icons/filetype/folder.svg';
import launch from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/launch.svg';
import newFolder from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/new-folder.svg';
import offlineBolt from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/offline-bolt.svg';
import refresh from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/refresh.svg';
import run from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/run.svg';
import stop from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/stop.svg';

/** The part of Lab's class that our components use. */
export class LabIcon {
  readonly svgstr: string;

  constructor({ svgstr }: { name?: string; svgstr: string }) {
    this.svgstr = svgstr;
  }

  readonly react = () => <span dangerouslySetInnerHTML={{ __html: this.svgstr }} />;
}

export const addIcon = new LabIcon({ svgstr: add });
export const caretDownIcon = new LabIcon({ svgstr: caretDown });
export const caretLeftIcon = new LabIcon({ svgstr: caretLeft });
export const caretRightIcon = new LabIcon({ svgstr: caretRight });
export const caretUpIcon = new LabIcon({ svgstr: caretUp });
export const checkIcon = new LabIcon({ svgstr: check });
export const circleEmptyIcon = new LabIcon({ svgstr: circleEmpty });
export const closeIcon = new LabIcon({ svgstr: close });
export const codeIcon = new LabIcon({ svgstr: code });
export const copyIcon = new LabIcon({ svgstr: copy });
export const deleteIcon = new LabIcon({ svgstr: remove });
export const ellipsesIcon = new LabIcon({ svgstr: ellipses });
export const fileIcon = new LabIcon({ svgstr: file });
export const fileUploadIcon = new LabIcon({ svgstr: fileUpload });
export const filterIcon = new LabIcon({ svgstr: filter });
export const folderIcon = new LabIcon({ svgstr: folder });
export const launchIcon = new LabIcon({ svgstr: launch });
export const newFolderIcon = new LabIcon({ svgstr: newFolder });
export const offlineBoltIcon = new LabIcon({ svgstr: offlineBolt });
export const refreshIcon = new LabIcon({ svgstr: refresh });
export const runIcon = new LabIcon({ svgstr: run });
export const stopIcon = new LabIcon({ svgstr: stop });
