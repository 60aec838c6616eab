import React from 'react';

import { Once, OnceContent } from '../components/Once';
import { Props, widget } from './view';

type Traits = { title: string; is_over: boolean };

function OnceWidget({ title, is_over, ask }: Props<Traits>) {
  return <Once title={title} isOver={is_over} onReveal={() => ask<OnceContent>('reveal')} />;
}

export default widget<Traits>(OnceWidget, ['title', 'is_over']);
