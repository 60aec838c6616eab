import React, { ReactNode, useId } from 'react';

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

const COLUMNS = {
  profile: 'Machine',
  gpu: 'GPU',
  memory_gib: 'Memory GiB',
  gpus: 'GPUs',
  vcpus: 'vCPU',
  ram_gib: 'RAM GiB',
  price_per_hour: 'Price/h',
  worst: 'At most',
  allowed: 'Quota',
  free: 'Free now'
};
export type Column = keyof typeof COLUMNS;

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
  where?: string;
  /** What else can be done with the machine that is chosen. */
  actions?: ReactNode;
  onWish: (wish: Wish) => void;
  onChoose: (profile: string) => void;
  onCheapest: () => Promise<unknown>;
  onDefault: () => Promise<unknown>;
}

/** All machines that fit what is asked for, one of them chosen. */
export function MachinePicker(props: MachinePickerProps) {
  const { wish, rows, total, value, problem, where = 'here', onWish, onCheapest, onDefault } = props;
  const change = (part: Partial<Wish>) => onWish({ ...wish, ...part });
  return (
    <div>
      <div className="lk-row lk-wish">
        <Field label="GPU memory at least" hint="40 GB" value={wish.memory} onType={memory => change({ memory })} />
        <Field label="Price per hour at most" hint="2.50" value={wish.price} onType={price => change({ price })} />
        <Field label="Name" hint="a100" value={wish.text} onType={text => change({ text })} />
        <Field label="Time limit" hint="10 min" value={wish.limit} onType={limit => change({ limit })} />
        <label>
          <input
            type="checkbox"
            checked={wish.available}
            onChange={event => change({ available: event.target.checked })}
          />{' '}
          Only what I can have now
        </label>
        <button type="button" onClick={() => void onCheapest().catch(() => undefined)}>
          Cheapest that fits
        </button>
      </div>
      <p className="lk-notice lk-error" role="alert" hidden={!problem}>
        {problem && `✗ ${problem}`}
      </p>
      <Machines {...props} change={change} />
      <div className="lk-row">
        <span role="status">{rows.length ? `${total} Chosen: ${value}.` : problem ? '' : 'Asking for machines …'}</span>
        {props.actions}
        <button
          type="button"
          className={props.actions ? '' : 'lk-main'}
          disabled={!value || value === props.default}
          onClick={() => void onDefault().catch(() => undefined)}
        >
          {value === props.default ? `${value} is the default ${where}` : `Make ${value} the default ${where}`}
        </button>
      </div>
    </div>
  );
}

type MachinesProps = MachinePickerProps & { change: (part: Partial<Wish>) => void };

const ALL = Object.keys(COLUMNS) as Column[];

function Machines({ wish, rows, value, columns = ALL, onChoose, change }: MachinesProps) {
  const group = useId();
  return (
    <div className="lk-wide" tabIndex={0} role="region" aria-label="Machines">
      <table>
        <caption className="lk-quiet">Prices in credits; "at most" is the whole time limit at that price.</caption>
        <thead>
          <tr>
            {columns.map(column => (
              <Head key={column} column={column} wish={wish} change={change} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(machine => (
            <Row key={machine.profile} {...{ group, machine, columns, onChoose }} chosen={machine.profile === value} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

type HeadProps = { column: Column; wish: Wish; change: (part: Partial<Wish>) => void };

function Head({ column, wish, change }: HeadProps) {
  const by = column === 'worst' ? 'price_per_hour' : column;
  const sorted = wish.by === column;
  const order = wish.descending ? 'descending' : 'ascending';
  const turn = () => change({ by, descending: wish.by === by && !wish.descending });
  return (
    <th scope="col" className={FIGURES.has(column) ? 'lk-figure' : ''} aria-sort={sorted ? order : 'none'}>
      <button type="button" className="lk-plain" onClick={turn}>
        {COLUMNS[column]}
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
