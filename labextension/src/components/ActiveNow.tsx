import { stopIcon } from '@jupyterlab/ui-components';
import React from 'react';

import { machineName } from '../format';
import { trans } from '../trans';
import { Silence } from './Silence';

/** A run, VM or deployment that is billed now. */
export interface Active {
  id: string;
  name: string;
  machine: string;
  perHour: number | null;
  /** Billed seconds; null if unknown. */
  time: string;
  /** Stop the item after a confirmation; undefined if the item is stopped elsewhere. */
  onStop?: () => void;
}

export interface ActiveNowProps {
  /** Seconds since the last answer of the cloud; null while the cloud answers. */
  silence?: number | null;
  active: Active[];
  onOpenPanel: () => void;
}

/** The list of everything that is billed now, with prices and buttons to stop. */
export function ActiveNow({ silence = null, active, onOpenPanel }: ActiveNowProps) {
  return (
    <section className="lk-active" aria-label={trans.__('Active now')}>
      <header>
        <strong>{active.length ? trans.__('Active now') : trans.__('No active runs.')}</strong>
      </header>
      {silence !== null && active.length > 0 && <Silence seconds={silence} />}
      <ul>
        {active.map(({ id, name, machine, perHour, time, onStop }) => (
          <li key={id}>
            <span className="lk-active-name" title={name}>
              {name}
            </span>
            <span>{machineName(machine)}</span>
            <span>{time}</span>
            <span>{perHour === null ? trans.__('price unknown') : trans.__('%1 credits/h', perHour)}</span>
            {onStop ? (
              <button
                type="button"
                className="lk-icon-action"
                title={trans.__('Abort the run')}
                aria-label={trans.__('Abort %1', `${name} (${id.slice(0, 8)})`)}
                onClick={onStop}
              >
                <stopIcon.react tag="span" />
              </button>
            ) : (
              <span />
            )}
          </li>
        ))}
      </ul>
      <button type="button" className="lk-active-more" onClick={onOpenPanel}>
        {trans.__('Open the panel')}
      </button>
    </section>
  );
}
