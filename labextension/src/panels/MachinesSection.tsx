import React, { useEffect, useState } from 'react';

import { COMMANDS, asUiCall } from '../commands';
import { MachinePicker, Wish } from '../components/MachinePicker';
import { machineName } from '../format';
import { request } from '../request';
import { trans } from '../trans';
import { MachineDefault, MachinesContent } from '../types';
import type { Tools } from './tools';

const ANY: Wish = {
  memory: '',
  price: '',
  available: false,
  text: '',
  limit: '',
  by: 'price_per_hour',
  descending: false
};

/** Milliseconds without typing before a request, and between two updates of the availability. */
const PAUSE = 250;
const EVERY = 60_000;

/** The machine picker: the selected cell runs on the chosen machine. */
export function MachinesSection({ tools: { cloud, commands, say, isVisible: shown } }: { tools: Tools }) {
  const [wish, setWish] = useState(ANY);
  const [chosen, choose] = useState('');
  const [table, setTable] = useState<MachinesContent | null>(null);
  useEffect(() => {
    const asking = new AbortController();
    const ask = async () => {
      const path = `machines?${buildQuery(wish)}`;
      try {
        const answer = await request<MachinesContent>(path, { signal: asking.signal });
        setTable(now => (answer.rows || !now ? answer : { ...answer, rows: now.rows, total: now.total }));
      } catch (failure) {
        if (!asking.signal.aborted) {
          say({ kind: 'error', text: (failure as Error).message });
        }
      }
    };
    const soon = shown ? window.setTimeout(() => void ask(), table ? PAUSE : 0) : 0;
    const again = shown ? window.setInterval(() => !document.hidden && void ask(), EVERY) : 0;
    return () => {
      window.clearTimeout(soon);
      window.clearInterval(again);
      asking.abort();
    };
  }, [wish, shown, cloud.account]);

  const makeDefault = async () => {
    try {
      const stored = await request<MachineDefault>('machines/default', { method: 'POST', body: { machine: value } });
      setTable(now => now && { ...now, default: stored.default });
      const words =
        stored.said.join(' ') || trans.__('Runs that name no machine use %1 from now on.', machineName(stored.default));
      say({ kind: stored.said.length ? 'warning' : 'info', text: words });
    } catch (failure) {
      say({ kind: 'error', text: (failure as Error).message });
    }
  };
  const chooseCheapest = () => {
    if (table?.cheapest) {
      choose(table.cheapest);
    } else if (table) {
      say({ kind: 'error', text: table.none_fits });
    }
    return Promise.resolve();
  };
  const value = chosen || (table?.default ?? '');
  const price = table?.rows?.find(row => row.profile === value)?.price_per_hour;
  return (
    <MachinePicker
      wish={wish}
      rows={table?.rows ?? []}
      total={table?.total ?? ''}
      value={value}
      default={table?.default ?? ''}
      problem={table?.problem ?? ''}
      where="everywhere"
      onWish={setWish}
      onChoose={choose}
      onCheapest={chooseCheapest}
      onDefault={makeDefault}
      actions={
        <button
          type="button"
          className="lk-main"
          disabled={!value}
          onClick={() => void commands.execute(COMMANDS.runOn, asUiCall({ machine: value }))}
        >
          {trans.__('Run the selected cell on %1', machineName(value) || '…')}
          {Number(price) > 0 && ` · ${trans.__('%1 credits/h', price!)}`}
        </button>
      }
    />
  );
}

function buildQuery({ available, descending, ...words }: Wish): string {
  const flags = { available: available ? '1' : '', descending: descending ? '1' : '' };
  return new URLSearchParams({ ...words, ...flags }).toString();
}
