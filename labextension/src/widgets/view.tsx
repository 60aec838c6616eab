/** What every widget does: its traits become props, it asks for news while it is seen, and Python answers what it does. */
import React, { ComponentType, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { Notice, NoticeText } from '../components/Notice';
import { onEnter } from './onEnter';

/** What anywidget hands to a widget of the traits and of the line to Python. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

/** What a component can do: set a trait, or have Python do something and await its answer. */
export interface Actions<T> {
  set: <K extends keyof T & string>(name: K, value: T[K]) => void;
  ask: <R = unknown>(action: string, args?: object, buffers?: ArrayBuffer[]) => Promise<R>;
}

export type Props<T> = T & Actions<T>;

type Answer = { answer: string; result?: unknown; error?: string };

/** Make a widget of a component. `names` are the traits that it is drawn from. */
export function widget<T extends object>(Component: ComponentType<Props<T>>, names: (keyof T & string)[]) {
  function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const ended = new AbortController();
    const line = new Line(model, ended.signal);
    const root = createRoot(el);
    el.classList.add('lk');
    el.dataset.lmSuppressShortcuts = 'true'; // keys that are pressed in a widget are not Lab's
    el.addEventListener('keydown', onEnter, { signal: ended.signal });
    root.render(<View Component={Component} names={names} model={model} line={line} />);
    refreshWhileVisible(el, model, line, ended.signal);
    return () => {
      ended.abort();
      root.unmount();
    };
  }
  return { render };
}

type ViewProps<T> = { Component: ComponentType<Props<T>>; names: (keyof T & string)[]; model: Model; line: Line };

function View<T extends object>({ Component, names, model, line }: ViewProps<T>) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => redraw(count => count + 1);
    model.on('change', changed);
    return () => model.off('change', changed);
  }, [model]);
  const traits = Object.fromEntries(names.map(name => [name, model.get(name)])) as T;
  const actions: Actions<T> = {
    set: (name, value) => {
      model.set(name, value);
      model.save_changes();
    },
    ask: (action, args, buffers) => line.ask(action, args, buffers)
  };
  return (
    <>
      <Component {...traits} {...actions} />
      <Notice notice={model.get('notice') as NoticeText} />
    </>
  );
}

/** Questions to Python and its answers. */
class Line {
  private readonly waiting = new Map<string, (answer: Answer) => void>();

  constructor(
    private readonly model: Model,
    signal: AbortSignal
  ) {
    const receive = (message: Answer) => {
      this.waiting.get(message.answer)?.(message);
      this.waiting.delete(message.answer);
    };
    model.on('msg:custom', receive);
    signal.addEventListener('abort', () => model.off('msg:custom', receive));
  }

  ask<R>(action: string, args: object = {}, buffers: ArrayBuffer[] = []): Promise<R> {
    const question = String(Math.random()); // answers reach every view of a widget, so a count would not do
    return new Promise((resolve, reject) => {
      this.waiting.set(question, ({ result, error }) =>
        error === undefined ? resolve(result as R) : reject(new Error(error))
      );
      this.model.send({ question, do: action, args }, undefined, buffers);
    });
  }
}

/** Milliseconds after which it is tried again when Python could not load, and after which no answer is awaited. */
const AGAIN = 5_000;
const ANSWER_TIMEOUT = 60_000;

/** Ask for news every so often, but only while somebody sees the widget, and never twice at once. */
function refreshWhileVisible(el: HTMLElement, model: Model, line: Line, signal: AbortSignal): void {
  let onScreen = false;
  let asking = false;
  let lastRequest = Number.MIN_SAFE_INTEGER;
  const pause = () => {
    const every = model.get('every') as number;
    const again = model.get('lost') ? Math.min(every || AGAIN, AGAIN) : every || Infinity;
    return asking ? ANSWER_TIMEOUT : again; // an answer is lost when the line to the kernel was
  };
  const look = () => {
    const now = performance.now();
    if (!onScreen || document.hidden || now - lastRequest < pause()) {
      return;
    }
    asking = true;
    lastRequest = now;
    const done = () => {
      asking = lastRequest !== now && asking;
    };
    void line.ask('refresh').then(done, done);
  };
  const observer = new IntersectionObserver(entries => {
    onScreen = entries[entries.length - 1].isIntersecting;
    look();
  });
  observer.observe(el);
  const clock = setInterval(look, 1000);
  document.addEventListener('visibilitychange', look, { signal });
  signal.addEventListener('abort', () => {
    observer.disconnect();
    clearInterval(clock);
  });
}
