import React, { useState } from 'react';

import { momentLabel } from '../format';
import { trans } from '../trans';
import { Signed } from './Icon';

/** Label, credits as text, and share of the largest amount from 0 to 1. */
export type Bar = [label: string, credits: string, share: number];

export interface BalanceProps {
  org: string;
  orgs: [slug: string, name: string][];
  days: number;
  left: string;
  running: string;
  per_hour: string;
  runs_out: string;
  complete: boolean;
  suspended: boolean;
  burning: string[][];
  spent: string;
  by_day: Bar[];
  by_kind: Bar[];
  by_hardware: Bar[];
  onSwitch: (org: string) => Promise<unknown>;
}

/** Credits of an organization: balance, active consumers and past spending. */
export function Balance(props: BalanceProps) {
  if (!props.left) {
    return <p role="status">{trans.__('Loading the balance …')}</p>;
  }
  return (
    <div>
      <Organization {...props} />
      <dl className="lk-facts">
        <Fact name={trans.__('Left')} value={props.left} />
        <Fact name={trans.__('Running now')} value={props.running} />
        <Fact name={trans.__('Per hour')} value={props.per_hour} />
        <Fact
          name={trans.__('Runs out')}
          value={
            props.runs_out
              ? props.complete
                ? momentLabel(props.runs_out)
                : trans.__('%1 at the latest', momentLabel(props.runs_out))
              : props.burning.length
                ? trans.__('unknown')
                : trans.__('never at this rate')
          }
        />
        <Fact name={trans._n('Spent in one day', 'Spent in %1 days', props.days)} value={props.spent} />
      </dl>
      <p className="lk-notice lk-warning" role="alert" hidden={!props.suspended}>
        {props.suspended && <Signed text={trans.__('⚠ The account is suspended. Buy credits in the dashboard.')} />}
      </p>
      <Burning things={props.burning} />
      <Days days={props.by_day} />
      <div className="lk-row lk-top">
        <Bars title={trans.__('By kind')} what={trans.__('Kind')} bars={props.by_kind} />
        <Bars title={trans.__('By hardware')} what={trans.__('Hardware')} bars={props.by_hardware} />
      </div>
    </div>
  );
}

function Organization({ org, orgs, onSwitch }: BalanceProps) {
  const [busy, setBusy] = useState(false);
  const change = (slug: string) => {
    setBusy(true);
    void onSwitch(slug)
      .catch(() => undefined)
      .finally(() => setBusy(false));
  };
  return (
    <label hidden={!orgs.length}>
      {trans.__('Organization')}{' '}
      <select value={org} disabled={busy || orgs.length < 2} onInput={event => change(event.currentTarget.value)}>
        {orgs.map(([slug, name]) => (
          <option key={slug} value={slug}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Burning({ things }: { things: string[][] }) {
  if (!things.length) {
    return null;
  }
  return (
    <table>
      <caption>{trans.__('Running now')}</caption>
      <thead>
        <tr>
          {[trans.__('What'), trans.__('Kind'), trans.__('Hardware'), trans.__('Per hour')].map(name => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {things.map(([name, ...facts], row) => (
          <tr key={row}>
            <th scope="row">{name}</th>
            {facts.map((fact, column) => (
              <td key={column}>{fact}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** A bar chart of all days, and a table of the days with spending. */
function Days({ days }: { days: Bar[] }) {
  const spent = days.filter(([, , share]) => share);
  if (!spent.length) {
    const words = trans._n('No spending today.', 'No spending in the last %1 days.', days.length);
    return <p className="lk-quiet">{words}</p>;
  }
  const wide = 600 / days.length;
  const [first, last] = [days[0][0], days[days.length - 1][0]];
  return (
    <figure>
      <figcaption>{trans.__('Spending per day, %1 to %2', first, last)}</figcaption>
      <svg
        className="lk-chart"
        viewBox="0 0 600 80"
        role="img"
        aria-label={trans.__('Credits spent per day, %1 to %2', first, last)}
      >
        {days.map(([day, credits, share], at) => (
          <rect key={day} x={at * wide + 1} y={79 - share * 76} width={wide - 2} height={share * 76 + 1}>
            <title>{trans.__('%1: %2 credits', day, credits)}</title>
          </rect>
        ))}
      </svg>
      <details>
        <summary>{trans._n('Spending on %1 day, as a table', 'Spending on %1 days, as a table', spent.length)}</summary>
        <Bars title={trans.__('By day')} what={trans.__('Day')} bars={spent} />
      </details>
    </figure>
  );
}

function Bars({ title, what, bars }: { title: string; what: string; bars: Bar[] }) {
  if (!bars.length) {
    return null;
  }
  return (
    <table>
      <caption>{title}</caption>
      <thead>
        <tr>
          <th scope="col">{what}</th>
          <th scope="col" className="lk-figure">
            {trans.__('Credits')}
          </th>
          <th scope="col">{trans.__('Share')}</th>
        </tr>
      </thead>
      <tbody>
        {bars.map(([label, credits, share]) => (
          <tr key={label}>
            <th scope="row">{label}</th>
            <td className="lk-figure">{credits}</td>
            <td>
              <span className="lk-bar" aria-hidden="true" style={{ width: `${Math.max(1, share * 120)}px` }} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
