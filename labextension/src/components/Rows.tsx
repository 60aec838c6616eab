import React, { KeyboardEvent, MouseEvent, useState } from 'react';

import { trans } from '../trans';
import { Icon, IconButton, IconName } from './Icon';

/** An action on a row: `words` for a menu, and `name`, which includes the row. */
export interface Act {
  icon: IconName;
  words: string;
  name: string;
  onAct: () => void;
}

export interface Row {
  key: string;
  title: string;
  /** The state as an icon, which leaves room for the facts; the words are in the tooltip and for screen readers. */
  state?: { icon: IconName; words: string };
  facts: (string | null | undefined)[];
  acts: Act[];
}

export interface RowsProps {
  label: string;
  rows: Row[] | undefined;
  none: React.ReactNode;
  /** Show the menu of a row at a position on the page. */
  onMenu: (acts: Act[], x: number, y: number) => void;
}

/**
 * A list with rows of 24 pixels; a text if the list is empty or still loading. The list is one tab stop: arrow keys
 * move between rows and between the buttons of a row.
 */
export function Rows({ label, rows, none, onMenu }: RowsProps) {
  const [current, setCurrent] = useState('');
  if (!rows?.length) {
    return (
      <p className="lk-quiet" role="status">
        {rows ? none : trans.__('Asking the cloud …')}
      </p>
    );
  }
  const at = Math.max(
    0,
    rows.findIndex(({ key }) => key === current)
  );
  const isAlone = ({ title }: Row) => rows.filter(row => row.title === title).length === 1;
  return (
    <ul className="lk-list" aria-label={label} onKeyDown={press}>
      {rows.map((row, place) => {
        const facts = row.facts.filter(Boolean).join(' · ');
        const tooltip = [row.title, row.state?.words, facts].filter(Boolean).join('\n');
        const menu = (event: MouseEvent) => {
          event.preventDefault();
          event.stopPropagation();
          const { x, bottom } = event.currentTarget.getBoundingClientRect();
          onMenu(row.acts, event.clientX || x, event.clientY || bottom); // a press of the menu key has no position
        };
        return (
          <li
            key={row.key}
            className="lk-item"
            title={tooltip}
            onFocus={() => setCurrent(row.key)}
            onContextMenu={menu}
          >
            {row.state && (
              <>
                <Icon name={row.state.icon} /> <span className="lk-unseen">{row.state.words}</span>
              </>
            )}
            <span className="lk-run-title">{row.title}</span>
            <span className="lk-item-facts">{facts}</span>
            <span className="lk-run-actions">
              {row.acts.map(({ icon, name, onAct }, n) => (
                <IconButton
                  key={icon}
                  icon={icon}
                  name={isAlone(row) ? name : `${name} (${row.key.slice(0, 8)})`}
                  tabIndex={place === at && !n ? 0 : -1}
                  onClick={onAct}
                />
              ))}
            </span>
          </li>
        );
      })}
    </ul>
  );
}

/** The button below a list that starts or creates another row. */
export function StartButton({ label, isBusy, onClick }: { label: string; isBusy: boolean; onClick: () => void }) {
  return (
    <button type="button" className="lk-start" disabled={isBusy} onClick={onClick}>
      <Icon name="more" /> {label} …
    </button>
  );
}

/** Move focus to another row, or to another button of the row with focus. */
function press(event: KeyboardEvent<HTMLElement>): void {
  const list = event.currentTarget;
  const focused = list.ownerDocument.activeElement as HTMLButtonElement;
  const rows = [...list.children].map(row => [...row.querySelectorAll('button')]);
  const at = rows.findIndex(buttons => buttons.includes(focused));
  const [last, n] = [rows.length - 1, rows[at]?.indexOf(focused) ?? 0];
  const steps: Record<string, [number, number]> = {
    ...{ ArrowDown: [Math.min(at + 1, last), 0], ArrowUp: [Math.max(at - 1, 0), 0], Home: [0, 0], End: [last, 0] },
    ...{ ArrowRight: [at, n + 1], ArrowLeft: [at, n - 1] }
  };
  if (event.key in steps) {
    const [row, button] = steps[event.key];
    rows[row]?.[button]?.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
