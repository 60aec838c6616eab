import React from 'react';

import { Machine, MachinePicker, Wish } from '../components/MachinePicker';
import { Props, widget } from './view';

type Traits = { wish: Wish; rows: Machine[]; total: string; value: string; default: string; problem: string };

function MachinePickerWidget({ set, ask, ...traits }: Props<Traits>) {
  return (
    <MachinePicker
      {...traits}
      onWish={wish => set('wish', wish)}
      onChoose={profile => set('value', profile)}
      onCheapest={() => ask('choose_cheapest')}
      onDefault={() => ask('make_default')}
    />
  );
}

export default widget<Traits>(MachinePickerWidget, ['wish', 'rows', 'total', 'value', 'default', 'problem']);
