import React from 'react';

import { Entry, FormField, OptionsForm } from '../components/OptionsForm';
import { Props, widget } from './view';

type Traits = {
  fields: FormField[];
  entries: Record<string, Entry>;
  problems: Record<string, string>;
  line: string;
};

function FormWidget({ set, ...traits }: Props<Traits>) {
  return <OptionsForm {...traits} onEntries={entries => set('entries', entries)} />;
}

export default widget<Traits>(FormWidget, ['fields', 'entries', 'problems', 'line']);
