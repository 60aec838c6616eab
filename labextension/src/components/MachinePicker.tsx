import React, { ReactNode, RefObject, useId, useLayoutEffect, useRef, useState } from 'react';

import { machineName } from '../format';
import { availability, hasValue, perMinute, priceWords } from '../machineFacts';
import { trans } from '../trans';
import { Icon, Signed } from './Icon';
import { SortHeading } from './SortHeading';

/** The filters as the user typed them; Python parses them. */
export interface Wish {
  memory: string;
  price: string;
  available: boolean;
  text: string;
  limit: string;
  by: string;
  descending: boolean;
}

/** A machine, in words. */
export type Machine = Record<Column, string>;

const headings = () => ({
  profile: trans.__('Machine'),
  gpu: trans.__('GPU'),
  memory_gib: trans.__('Memory'),
  gpus: trans.__('GPUs'),
  vcpus: trans.__('vCPU'),
  ram_gib: trans.__('RAM GiB'),
  price_per_hour: trans.__('Price/h'),
  worst: trans.__('At most'),
  allowed: trans.__('Quota'),
  free: trans.__('Now')
});
export type Column = keyof ReturnType<typeof headings>;

const FIGURES = new Set<Column>(['gpus', 'vcpus', 'ram_gib', 'price_per_hour', 'worst']);

/** Width in pixels from which the machines are a table. */
const ROOM = 540;

export interface MachinePickerProps {
  wish: Wish;
  rows: Machine[];
  total: string;
  value: string;
  default: string;
  problem: string;
  /** Where the chosen default applies. */
  where?: 'here' | 'everywhere';
  /** Further actions on the chosen machine. */
  actions?: ReactNode;
  onWish: (wish: Wish) => void;
  onChoose: (profile: string) => void;
  onCheapest: () => Promise<unknown>;
  onDefault: () => Promise<unknown>;
}

/** All machines that match the filters, one of them chosen: cards in a narrow place, otherwise a table. */
export function MachinePicker(props: MachinePickerProps) {
  const { wish, rows, total, value, problem, onWish, onCheapest, onDefault } = props;
  const change = (part: Partial<Wish>) => onWish({ ...wish, ...part });
  const box = useRef<HTMLDivElement>(null);
  const isWide = useRoom(box);
  const List = isWide ? Table : Cards;
  return (
    <div ref={box} className="lk-picker">
      <Filters {...props} change={change} isWide={isWide} />
      <p className="lk-notice lk-error" role="alert" hidden={!problem}>
        {problem && <Signed text={`✗ ${problem}`} />}
      </p>
      {rows.length > 0 && <List {...props} change={change} />}
      <p className="lk-quiet lk-picker-status" role="status">
        {rows.length
          ? trans.__('%1 Chosen: %2.', total, machineName(value))
          : problem
            ? ''
            : trans.__('Asking for machines …')}
      </p>
      <div className="lk-row">
        {props.actions}
        <button type="button" onClick={() => void onCheapest().catch(() => undefined)}>
          {trans.__('Cheapest match')}
        </button>
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

/** Return whether an element is wide enough for a table. */
function useRoom(box: RefObject<HTMLDivElement>): boolean {
  const [isWide, setWide] = useState(false);
  useLayoutEffect(() => {
    const look = () => setWide(box.current!.clientWidth >= ROOM);
    look();
    const size = new ResizeObserver(look);
    size.observe(box.current!);
    return () => size.disconnect();
  }, []);
  return isWide;
}

function defaultWords({ value, where, default: current }: MachinePickerProps): string {
  const name = machineName(value);
  if (value === current) {
    return where === 'everywhere'
      ? trans.__('%1 is the default for all notebooks', name)
      : trans.__('%1 is the default of this notebook', name);
  }
  return where === 'everywhere'
    ? trans.__('Make %1 the default for all notebooks', name)
    : trans.__('Make %1 the default of this notebook', name);
}

type PartProps = MachinePickerProps & { change: (part: Partial<Wish>) => void };

/** The filters of the list, behind a funnel; open if any filter is set. */
function Filters({ wish, isWide, change }: PartProps & { isWide: boolean }) {
  const filterCount = [wish.memory, wish.price, wish.text, wish.limit, wish.available].filter(Boolean).length;
  const [isOpen, setOpen] = useState(filterCount > 0);
  const id = useId();
  const names = headings();
  const orders: Column[] = ['price_per_hour', 'memory_gib', 'profile', 'free'];
  return (
    <>
      <button
        type="button"
        className="lk-plain lk-funnel"
        aria-expanded={isOpen}
        aria-controls={id}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="funnel" /> {filterCount ? trans.__('Filters (%1)', filterCount) : trans.__('Filters')}
      </button>
      <div id={id} className="lk-wish" hidden={!isOpen}>
        <Field
          label={trans.__('GPU memory at least')}
          hint="40 GB"
          value={wish.memory}
          onType={memory => change({ memory })}
        />
        <Field
          label={trans.__('Maximum price per hour')}
          hint="2.50"
          value={wish.price}
          onType={price => change({ price })}
        />
        <Field label={trans.__('Name')} hint="a100" value={wish.text} onType={text => change({ text })} />
        <Field label={trans.__('Time limit')} hint="10 min" value={wish.limit} onType={limit => change({ limit })} />
        {!isWide && (
          <label>
            {trans.__('Sort by')}
            <select value={wish.by} onChange={event => change({ by: event.currentTarget.value })}>
              {orders.map(column => (
                <option key={column} value={column}>
                  {names[column]}
                </option>
              ))}
            </select>
          </label>
        )}
        <label className="lk-check">
          <input
            type="checkbox"
            checked={wish.available}
            onChange={event => change({ available: event.currentTarget.checked })}
          />{' '}
          {trans.__('Only available now')}
        </label>
      </div>
    </>
  );
}

type FieldProps = { label: string; hint: string; value: string; onType: (value: string) => void };

function Field({ label, hint, value, onType }: FieldProps) {
  return (
    <label>
      {label}
      <input
        size={7}
        placeholder={hint}
        value={value}
        onInput={event => onType((event.target as HTMLInputElement).value)}
      />
    </label>
  );
}

/** Machines in a narrow place, three lines each. */
function Cards({ rows, value, wish, default: usual, onChoose }: PartProps) {
  const group = useId();
  return (
    <ul className="lk-cards" aria-label={trans.__('Machines')}>
      {rows.map(machine => {
        const minute = perMinute(machine);
        const size = [
          Number(machine.gpus) > 1 ? trans.__('%1 GPUs', machine.gpus) : '',
          hasValue(machine.vcpus) ? trans.__('%1 vCPU', machine.vcpus) : '',
          hasValue(machine.ram_gib) ? trans.__('%1 GiB RAM', machine.ram_gib) : ''
        ];
        const isChosen = machine.profile === value;
        return (
          <li key={machine.profile} className={isChosen ? 'lk-chosen' : ''} onClick={() => onChoose(machine.profile)}>
            <div className="lk-card-line">
              <Choice {...{ group, machine, isChosen, onChoose }} isDefault={machine.profile === usual} />
              <span>{priceWords(machine)}</span>
            </div>
            <div className="lk-card-line">
              <Memory machine={machine} rows={rows} />
              {minute && <span className="lk-quiet">{trans.__('%1 credits/min', minute)}</span>}
            </div>
            <div className="lk-card-line lk-quiet">
              <Freedom machine={machine} />
              <span>
                {wish.limit && hasValue(machine.worst)
                  ? trans.__('at most %1', machine.worst)
                  : size.filter(Boolean).join(' · ')}
              </span>
            </div>
          </li>
        );
      })}
    </ul>
  );
}

/** Return the columns in which these machines differ. */
function listColumns(rows: Machine[]): Column[] {
  const columns = Object.keys(headings()) as Column[];
  return columns.filter(column => {
    switch (column) {
      case 'profile':
      case 'free':
        return true;
      case 'gpu': // most machine types have the same name as the GPU
        return rows.some(row => hasValue(row.gpu) && row.profile !== `gpu.${row.gpu.toLowerCase()}`);
      case 'allowed':
        return false; // the dot shows the same
      case 'gpus':
        return rows.some(row => Number(row.gpus) > 1);
      default:
        return rows.some(row => hasValue(row[column]));
    }
  });
}

function Table({ wish, rows, value, default: usual, onChoose, change }: PartProps) {
  const group = useId();
  const names = headings();
  const columns = listColumns(rows);
  return (
    <div className="lk-wide" tabIndex={0} role="region" aria-label={trans.__('Machines')}>
      <table className="lk-grid-table">
        <caption className="lk-quiet">
          {trans.__('Prices in credits. "At most" is the price of a run that lasts until its time limit.')}
        </caption>
        <thead>
          <tr>
            {columns.map(column => (
              <Head key={column} column={column} name={names[column]} wish={wish} change={change} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(machine => {
            const isChosen = machine.profile === value;
            return (
              <tr
                key={machine.profile}
                className={isChosen ? 'lk-chosen' : ''}
                onClick={() => onChoose(machine.profile)}
              >
                <th scope="row">
                  <Choice {...{ group, machine, isChosen, onChoose }} isDefault={machine.profile === usual} />
                </th>
                {columns.slice(1).map(column => (
                  <td key={column} className={FIGURES.has(column) ? 'lk-figure' : ''}>
                    <Cell column={column} machine={machine} rows={rows} />
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Cell({ column, machine, rows }: { column: Column; machine: Machine; rows: Machine[] }) {
  switch (column) {
    case 'memory_gib':
      return <Memory machine={machine} rows={rows} />;
    case 'free':
      return <Freedom machine={machine} />;
    case 'price_per_hour': {
      const minute = perMinute(machine);
      return (
        <>
          {machine.price_per_hour} {minute && <span className="lk-quiet">{trans.__('%1 credits/min', minute)}</span>}
        </>
      );
    }
    default:
      return <>{machine[column]}</>;
  }
}

type HeadProps = { column: Column; name: string; wish: Wish; change: (part: Partial<Wish>) => void };

function Head({ column, name, wish, change }: HeadProps) {
  const by = column === 'worst' ? 'price_per_hour' : column;
  const sorting = { column: wish.by, down: wish.descending };
  const turn = () => change({ by, descending: wish.by === by && !wish.descending });
  return <SortHeading {...{ column, name, sorting }} isFigure={FIGURES.has(column)} onSort={turn} />;
}

type ChoiceProps = {
  group: string;
  machine: Machine;
  isChosen: boolean;
  isDefault: boolean;
  onChoose: (profile: string) => void;
};

function Choice({ group, machine: { profile }, isChosen, isDefault, onChoose }: ChoiceProps) {
  return (
    <span className="lk-choice">
      <label>
        <input type="radio" name={group} checked={isChosen} onChange={() => onChoose(profile)} /> {machineName(profile)}
      </label>
      {isDefault && (
        <span className="lk-star" title={trans.__('Default machine')}>
          <Icon name="star" />
          <span className="lk-unseen">{trans.__('Default machine')}</span>
        </span>
      )}
    </span>
  );
}

/** GPU memory, as a bar relative to the largest. */
function Memory({ machine, rows }: { machine: Machine; rows: Machine[] }) {
  if (!hasValue(machine.memory_gib)) {
    return <span className="lk-quiet">–</span>;
  }
  const most = Math.max(...rows.map(row => Number(row.memory_gib) || 0));
  return (
    <span className="lk-memory">
      <span className="lk-meter" aria-hidden="true">
        <span style={{ width: `${(100 * Number(machine.memory_gib)) / most}%` }} />
      </span>
      {trans.__('%1 GiB', machine.memory_gib)}
    </span>
  );
}

function Freedom({ machine }: { machine: Machine }) {
  const { kind, word } = availability(machine);
  return (
    <span className={`lk-free lk-free-${kind}`}>
      <span className="lk-dot" aria-hidden="true" />
      {word}
    </span>
  );
}
