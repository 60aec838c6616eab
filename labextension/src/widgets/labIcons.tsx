/** The icons of Lab that our components use, in place of Lab's own package, which is too large for a widget. */
import React from 'react';

import check from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/check.svg';
import circleEmpty from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/circle-empty.svg';
import close from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/close.svg';
import ellipses from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/ellipses.svg';
import launch from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/launch.svg';
import offlineBolt from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/offline-bolt.svg';
import refresh from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/refresh.svg';
import run from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/run.svg';
import stop from '../../node_modules/@jupyterlab/ui-components/style/icons/toolbar/stop.svg';

const iconOf = (svg: string) => ({ react: () => <span dangerouslySetInnerHTML={{ __html: svg }} /> });

export const checkIcon = iconOf(check);
export const circleEmptyIcon = iconOf(circleEmpty);
export const closeIcon = iconOf(close);
export const ellipsesIcon = iconOf(ellipses);
export const launchIcon = iconOf(launch);
export const offlineBoltIcon = iconOf(offlineBolt);
export const refreshIcon = iconOf(refresh);
export const runIcon = iconOf(run);
export const stopIcon = iconOf(stop);
