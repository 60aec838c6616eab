import React from 'react';

import { Balance, BalanceProps } from '../components/Balance';
import { Props, widget } from './view';

type Traits = Omit<BalanceProps, 'onSwitch'>;

function BalanceWidget(props: Props<Traits>) {
  return <Balance {...props} onSwitch={org => props.ask('switch', { org })} />;
}

export default widget<Traits>(BalanceWidget, [
  ...(['org', 'orgs', 'days', 'left', 'running', 'per_hour', 'runs_out', 'complete', 'suspended'] as const),
  ...(['burning', 'spent', 'by_day', 'by_kind', 'by_hardware'] as const)
]);
