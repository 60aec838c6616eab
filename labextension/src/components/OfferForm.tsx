import React, { FormEvent, useEffect, useId, useRef, useState } from 'react';

import { credits } from '../format';
import { trans } from '../trans';
import { RentOffer } from '../types';
import { onEscape } from './Question';

export interface OfferFormProps {
  /** What the form starts, as the title of the question. */
  title: string;
  /** Label of the button that starts the chosen offer. */
  verb: string;
  offers: RentOffer[];
  /** What a user must know before the click. */
  note: string;
  /** Credits that are left; null if unknown. */
  balance: number | null;
  onStart: (offer: RentOffer) => void;
  onCancel: () => void;
}

/** A question with a choice of offers and their prices. The button starts the chosen offer at its price. */
export function OfferForm({ title, verb, offers, note, balance, onStart, onCancel }: OfferFormProps) {
  const free = offers.filter(offer => offer.free !== false);
  const [id, setId] = useState((free[0] ?? offers[0])?.id ?? '');
  const chosen = offers.find(offer => offer.id === id);
  const price = Number(chosen?.per_hour ?? 0);
  const lasts = balance !== null && price > 0 ? lastsWords(balance, price) : '';
  const words = [note, chosen?.end, lasts].filter(Boolean).join(' ');
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (chosen) {
      onStart(chosen);
    }
  };
  return (
    <Form title={title} note={words} onSubmit={send} onCancel={onCancel}>
      <label>
        {trans.__('Offer')}{' '}
        <select value={id} onChange={event => setId(event.currentTarget.value)}>
          {offers.map(offer => (
            <option key={offer.id} value={offer.id} disabled={offer.free === false}>
              {[
                offer.label,
                trans.__('%1 credits/h', String(Number(offer.per_hour))),
                offer.free === false ? trans.__('taken') : ''
              ]
                .filter(Boolean)
                .join(' · ')}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" disabled={!chosen}>
        {trans.__('%1 at %2 credits/h', verb, price)}
      </button>
    </Form>
  );
}

function lastsWords(balance: number, price: number): string {
  const hours = Math.max(0, balance) / price;
  return hours < 1
    ? trans.__(
        '⚠ %1 credits are left, enough for about %2 min at this price.',
        credits(balance),
        Math.floor(60 * hours)
      )
    : trans.__('%1 credits are left, enough for about %2 h at this price.', credits(balance), Math.floor(hours));
}

interface NameFormProps {
  title: string;
  verb: string;
  note: string;
  onStart: (name: string) => void;
  onCancel: () => void;
}

/** A question for a name. */
export function NameForm({ title, verb, note, onStart, onCancel }: NameFormProps) {
  const [name, setName] = useState('');
  const send = (event: FormEvent) => {
    event.preventDefault();
    if (name) {
      onStart(name);
    }
  };
  return (
    <Form title={title} note={note} onSubmit={send} onCancel={onCancel}>
      <label>
        {trans.__('Name')}{' '}
        <input
          value={name}
          maxLength={63}
          placeholder={trans.__('laptop')}
          onInput={event => setName(event.currentTarget.value.trim())}
        />
      </label>
      <button type="submit" disabled={!name}>
        {verb}
      </button>
    </Form>
  );
}

type FormProps = React.PropsWithChildren<{
  title: string;
  note: string;
  onSubmit: (event: FormEvent) => void;
  onCancel: () => void;
}>;

/** A form as a question: focus moves to its first field and returns afterwards; Escape cancels. */
function Form({ title, note, onSubmit, onCancel, children }: FormProps) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    form.current!.querySelector<HTMLElement>('select, input')?.focus();
    return () => before?.focus();
  }, []);
  return (
    <form
      ref={form}
      className="lk-question lk-offer"
      role="dialog"
      aria-labelledby={id}
      onSubmit={onSubmit}
      onKeyDown={onEscape(onCancel)}
    >
      <strong id={id}>{title}</strong>
      {children}
      <button type="button" onClick={onCancel}>
        {trans.__('Cancel')}
      </button>
      <p className="lk-quiet">{note}</p>
    </form>
  );
}
