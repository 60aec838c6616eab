import React, { useState } from 'react';

/** A label, credits in words, and the share of the largest from 0 to 1. */
export type Bar = [label: string, credits: string, share: number];

export interface BalanceProps {
  org: string;
  orgs: [slug: string, name: string][];
  days: number;
  left: string;
  running: string;
  per_hour: string;
  runs_out: string;
  suspended: boolean;
  burning: string[][];
  spent: string;
  by_day: Bar[];
  by_kind: Bar[];
  by_hardware: Bar[];
  onSwitch: (org: string) => Promise<unknown>;
}

/** Credits of an organization: what is left, what uses it, and what it was spent on. */
export function Balance(props: BalanceProps) {
  if (!props.left) {
    return <p role="status">Asking for the balance …</p>;
  }
  return (
    <div>
      <Organization {...props} />
      <dl className="lk-facts">
        <Fact name="Left" value={props.left} />
        <Fact name="Running now" value={props.running} />
        <Fact name="An hour" value={props.per_hour} />
        <Fact name="Runs out" value={props.runs_out ? moment(props.runs_out) : 'not while nothing runs'} />
        <Fact name={`Spent in ${props.days} days`} value={props.spent} />
      </dl>
      <p className="lk-notice lk-warning" role="alert" hidden={!props.suspended}>
        {props.suspended && '⚠ The account is suspended: top up in the dashboard.'}
      </p>
      <Burning things={props.burning} />
      <Days days={props.by_day} />
      <div className="lk-row lk-top">
        <Bars what="Kind" bars={props.by_kind} />
        <Bars what="Hardware" bars={props.by_hardware} />
      </div>
    </div>
  );
}

function moment(text: string): string {
  return new Date(text).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
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
      Organization{' '}
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
      <caption>Running now</caption>
      <thead>
        <tr>
          {['What', 'Kind', 'Hardware', 'An hour'].map(name => (
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

/** Columns of all days, with the days that cost something in a table below. */
function Days({ days }: { days: Bar[] }) {
  const spent = days.filter(([, , share]) => share);
  if (!spent.length) {
    return <p className="lk-quiet">Nothing was spent in these {days.length} days.</p>;
  }
  const wide = 600 / days.length;
  const [first, last] = [days[0][0], days[days.length - 1][0]];
  return (
    <figure>
      <figcaption>
        By day, {first} to {last}
      </figcaption>
      <svg className="lk-chart" viewBox="0 0 600 80" role="img" aria-label={`Credits by day, ${first} to ${last}`}>
        {days.map(([day, credits, share], at) => (
          <rect key={day} x={at * wide + 1} y={79 - share * 76} width={wide - 2} height={share * 76 + 1}>
            <title>{`${day}: ${credits} credits`}</title>
          </rect>
        ))}
      </svg>
      <details>
        <summary>{spent.length === 1 ? '1 day' : `${spent.length} days`} as a table</summary>
        <Bars what="Day" bars={spent} />
      </details>
    </figure>
  );
}

function Bars({ what, bars }: { what: string; bars: Bar[] }) {
  if (!bars.length) {
    return null;
  }
  return (
    <table>
      <caption>By {what.toLowerCase()}</caption>
      <thead>
        <tr>
          <th scope="col">{what}</th>
          <th scope="col" className="lk-figure">
            Credits
          </th>
          <th scope="col">Share</th>
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
