import React, { ReactNode, useId } from 'react';

import { trans } from '../trans';

/** What is asked for, as it was typed; Python reads it. */
export interface Wish {
  memory: string;
  price: string;
  available: boolean;
  text: string;
  limit: string;
  by: string;
  descending: boolean;
}

/** One machine, in words. */
export type Machine = Record<Column, string>;

const headings = () => ({
  profile: trans.__('Machine'),
  gpu: trans.__('GPU'),
  memory_gib: trans.__('Memory GiB'),
  gpus: trans.__('GPUs'),
  vcpus: trans.__('vCPU'),
  ram_gib: trans.__('RAM GiB'),
  price_per_hour: trans.__('Price/h'),
  worst: trans.__('At most'),
  allowed: trans.__('Quota'),
  free: trans.__('Free now')
});
export type Column = keyof ReturnType<typeof headings>;

const FIGURES = new Set<Column>(['memory_gib', 'gpus', 'vcpus', 'ram_gib', 'price_per_hour', 'worst']);

export interface MachinePickerProps {
  wish: Wish;
  rows: Machine[];
  total: string;
  value: string;
  default: string;
  problem: string;
  /** Those that are shown, in order; without it all of them. */
  columns?: Column[];
  /** Where the default holds that can be chosen. */
  where?: 'here' | 'everywhere';
  /** What else can be done with the machine that is chosen. */
  actions?: ReactNode;
  onWish: (wish: Wish) => void;
  onChoose: (profile: string) => void;
  onCheapest: () => Promise<unknown>;
  onDefault: () => Promise<unknown>;
}

/** All machines that fit what is asked for, one of them chosen. */
export function MachinePicker(props: MachinePickerProps) {
  const { wish, rows, total, value, problem, onWish, onCheapest, onDefault } = props;
  const change = (part: Partial<Wish>) => onWish({ ...wish, ...part });
  return (
    <div>
      <div className="lk-row lk-wish">
        <Field
          label={trans.__('GPU memory at least')}
          hint="40 GB"
          value={wish.memory}
          onType={memory => change({ memory })}
        />
        <Field
          label={trans.__('Price per hour at most')}
          hint="2.50"
          value={wish.price}
          onType={price => change({ price })}
        />
        <Field label={trans.__('Name')} hint="a100" value={wish.text} onType={text => change({ text })} />
        <Field label={trans.__('Time limit')} hint="10 min" value={wish.limit} onType={limit => change({ limit })} />
        <label>
          <input
            type="checkbox"
            checked={wish.available}
            onChange={event => change({ available: event.target.checked })}
          />{' '}
          {trans.__('Only what I can have now')}
        </label>
        <button type="button" onClick={() => void onCheapest().catch(() => undefined)}>
          {trans.__('Cheapest that fits')}
        </button>
      </div>
      <p className="lk-notice lk-error" role="alert" hidden={!problem}>
        {problem && `✗ ${problem}`}
      </p>
      <Machines {...props} change={change} />
      <div className="lk-row">
        <span role="status">
          {rows.length ? trans.__('%1 Chosen: %2.', total, value) : problem ? '' : trans.__('Asking for machines …')}
        </span>
        {props.actions}
        <button
          type="button"
          className={props.actions ? '' : 'lk-main'}
          disabled={!value || value === props.default}
          onClick={() => void onDefault().catch(() => undefined)}
        >
          {defaultWords(props)}
        </button>
      </div>
    </div>
  );
}

function defaultWords({ value, where, default: current }: MachinePickerProps): string {
  if (value === current) {
    return where === 'everywhere'
      ? trans.__('%1 is the default everywhere', value)
      : trans.__('%1 is the default here', value);
  }
  return where === 'everywhere'
    ? trans.__('Make %1 the default everywhere', value)
    : trans.__('Make %1 the default here', value);
}

type MachinesProps = MachinePickerProps & { change: (part: Partial<Wish>) => void };

function Machines({ wish, rows, value, columns, onChoose, change }: MachinesProps) {
  const group = useId();
  const names = headings();
  const shown = columns ?? (Object.keys(names) as Column[]);
  return (
    <div className="lk-wide" tabIndex={0} role="region" aria-label={trans.__('Machines')}>
      <table>
        <caption className="lk-quiet">
          {trans.__('Prices in credits; "at most" is the whole time limit at that price.')}
        </caption>
        <thead>
          <tr>
            {shown.map(column => (
              <Head key={column} column={column} name={names[column]} wish={wish} change={change} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(machine => (
            <Row
              key={machine.profile}
              {...{ group, machine, onChoose }}
              columns={shown}
              chosen={machine.profile === value}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

type HeadProps = { column: Column; name: string; wish: Wish; change: (part: Partial<Wish>) => void };

function Head({ column, name, wish, change }: HeadProps) {
  const by = column === 'worst' ? 'price_per_hour' : column;
  const sorted = wish.by === column;
  const order = wish.descending ? 'descending' : 'ascending';
  const turn = () => change({ by, descending: wish.by === by && !wish.descending });
  return (
    <th scope="col" className={FIGURES.has(column) ? 'lk-figure' : ''} aria-sort={sorted ? order : 'none'}>
      <button type="button" className="lk-plain" onClick={turn}>
        {name}
        <span aria-hidden="true">{sorted ? (wish.descending ? ' ▼' : ' ▲') : ''}</span>
      </button>
    </th>
  );
}

type RowProps = {
  group: string;
  machine: Machine;
  columns: Column[];
  chosen: boolean;
  onChoose: (profile: string) => void;
};

function Row({ group, machine, columns, chosen, onChoose }: RowProps) {
  return (
    <tr className={chosen ? 'lk-chosen' : ''} onClick={() => onChoose(machine.profile)}>
      <th scope="row">
        <label>
          <input type="radio" name={group} checked={chosen} onChange={() => onChoose(machine.profile)} />{' '}
          {machine.profile}
        </label>
      </th>
      {columns.slice(1).map(column => (
        <td key={column} className={FIGURES.has(column) ? 'lk-figure' : ''}>
          {machine[column]}
        </td>
      ))}
    </tr>
  );
}

type FieldProps = { label: string; hint: string; value: string; onType: (value: string) => void };

function Field({ label, hint, value, onType }: FieldProps) {
  return (
    <label>
      {label}{' '}
      <input
        size={7}
        placeholder={hint}
        value={value}
        onInput={event => onType((event.target as HTMLInputElement).value)}
      />
    </label>
  );
}
