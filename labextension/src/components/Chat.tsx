import React, { useLayoutEffect, useRef, useState } from 'react';

import { trans } from '../trans';
import { Marked } from './Marked';

export interface Turn {
  who: string;
  text: string;
  /** The text as HTML; undefined if the text is shown as typed. */
  html?: string;
  reasoning: string;
  facts: string;
}

export interface ChatProps {
  model: string;
  models: string[];
  turns: Turn[];
  answering: boolean;
  spent: string;
  onModel: (model: string) => void;
  onAsk: (text: string) => Promise<unknown>;
  onStop: () => Promise<unknown>;
  onClear: () => Promise<unknown>;
}

const nothing = () => undefined;

/** Distance from the end, in pixels, within which the view follows new messages. */
const NEAR = 24;

/** A conversation with a model. Enter sends, Shift Enter breaks the line, Escape stops the answer. */
export function Chat(props: ChatProps) {
  const { model, turns, answering, spent, onStop, onClear } = props;
  return (
    <section
      aria-label={trans.__('Chat with %1', model)}
      onKeyDown={event => {
        if (event.key === 'Escape' && answering) {
          void onStop().catch(nothing);
        }
      }}
    >
      <div className="lk-row">
        <ModelChoice {...props} />
        <button type="button" disabled={!turns.length} onClick={() => void onClear().catch(nothing)}>
          {trans.__('New conversation')}
        </button>
        <span className="lk-quiet">{spent}</span>
      </div>
      <Turns turns={turns} answering={answering} />
      <Question {...props} />
    </section>
  );
}

function ModelChoice({ model, models, answering, onModel }: ChatProps) {
  const names = models.includes(model) || !model ? models : [model, ...models];
  return (
    <label>
      {trans.__('Model')}{' '}
      <select value={model} disabled={answering} onChange={event => onModel(event.target.value)}>
        {names.map(name => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

function Turns({ turns, answering }: Pick<ChatProps, 'turns' | 'answering'>) {
  const place = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const last = turns[turns.length - 1];
  const down = () => void place.current?.scrollTo?.({ top: place.current.scrollHeight }); // newer browsers return a promise
  useLayoutEffect(down, [turns.length]);
  useLayoutEffect(() => {
    if (isAtEnd.current) {
      down(); // a reader of earlier messages isn't moved
    }
  }, [last?.text, last?.reasoning]);
  return (
    <div
      className="lk-turns"
      ref={place}
      role="log"
      aria-label={trans.__('Conversation')}
      aria-busy={answering}
      tabIndex={0}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR;
      }}
    >
      {turns.map((turn, index) => (
        <article key={index} className={turn.who === 'you' ? 'lk-turn lk-mine' : 'lk-turn'}>
          <header>
            <strong>{turn.who === 'you' ? trans.__('You') : turn.who}</strong>{' '}
            <span className="lk-quiet">{turn.facts}</span>
          </header>
          {turn.reasoning && (
            <details open={!turn.text}>
              <summary>{trans.__('Reasoning')}</summary>
              <p className="lk-said lk-quiet">{turn.reasoning}</p>
            </details>
          )}
          {turn.html ? <Marked html={turn.html} /> : <p className="lk-said">{turn.text}</p>}
        </article>
      ))}
    </div>
  );
}

function Question({ answering, model, onAsk, onStop }: ChatProps) {
  const [text, setText] = useState('');
  const ask = () => {
    if (text.trim() && !answering) {
      setText('');
      onAsk(text).catch(() => setText(text)); // restore an unsent question to the field
    }
  };
  return (
    <div className="lk-row lk-typing">
      <textarea
        aria-label={trans.__('Question')}
        placeholder={trans.__('Ask %1: Enter sends, Shift Enter breaks the line', model)}
        rows={2}
        value={text}
        onInput={event => setText((event.target as HTMLTextAreaElement).value)}
        onKeyDown={event => {
          if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent?.isComposing) {
            event.preventDefault();
            event.stopPropagation();
            ask();
          }
        }}
      />
      {answering ? (
        <button type="button" onClick={() => void onStop().catch(nothing)}>
          {trans.__('Stop')}
        </button>
      ) : (
        <button type="button" className="lk-main" disabled={!text.trim()} onClick={ask}>
          {trans.__('Ask')}
        </button>
      )}
    </div>
  );
}
