/**
 * Common parts of all widgets: traits become props, data is refreshed while the widget is visible, and Python answers
 * actions.
 */
import React, { ComponentType, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { Notice, NoticeText } from '../components/Notice';
import { onEnter } from './onEnter';

/** The connection to Python that anywidget passes to a widget. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

/** Actions of a component: set a trait, or request an action from Python and await the answer. */
export interface Actions<T> {
  set: <K extends keyof T & string>(name: K, value: T[K]) => void;
  ask: <R = unknown>(action: string, args?: object, buffers?: ArrayBuffer[]) => Promise<R>;
}

export type Props<T> = T & Actions<T>;

type Answer = { answer: string; result?: unknown; error?: string };

/** Create a widget from a component. `names` are the traits that the component draws. */
export function widget<T extends object>(Component: ComponentType<Props<T>>, names: (keyof T & string)[]) {
  function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const ended = new AbortController();
    const line = new Line(model, ended.signal);
    const root = createRoot(el);
    el.classList.add('lk');
    el.dataset.lmSuppressShortcuts = 'true'; // keys pressed in a widget must not reach Lab
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

/** Requests to Python and their answers. */
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
    const question = String(Math.random()); // answers reach every view of a widget, so a counter isn't unique
    return new Promise((resolve, reject) => {
      this.waiting.set(question, ({ result, error }) =>
        error === undefined ? resolve(result as R) : reject(new Error(error))
      );
      this.model.send({ question, do: action, args }, undefined, buffers);
    });
  }
}

/** Milliseconds before a retry after Python failed to load, and before an answer counts as lost. */
const AGAIN = 5_000;
const ANSWER_TIMEOUT = 60_000;

/** Request updates at intervals while the widget is visible, one request at a time. */
function refreshWhileVisible(el: HTMLElement, model: Model, line: Line, signal: AbortSignal): void {
  let onScreen = false;
  let asking = false;
  let lastRequest = Number.MIN_SAFE_INTEGER;
  const pause = () => {
    const every = model.get('every') as number;
    const again = model.get('lost') ? Math.min(every || AGAIN, AGAIN) : every || Infinity;
    return asking ? ANSWER_TIMEOUT : again; // an answer is lost if the connection to the kernel was
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
