import React from 'react';

import { RunDetails, RunTraits } from '../components/RunDetails';
import { Props, widget } from './view';

function RunViewWidget({ ask, ...run }: Props<RunTraits>) {
  return <RunDetails {...run} onAsk={ask} />;
}

export default widget<RunTraits>(RunViewWidget, [
  'title',
  'run',
  'reason',
  'local',
  'ended',
  'stopping',
  'held',
  'deaf',
  'total',
  'live',
  'frames',
  'empty'
]);
