/** Displays of a run: the outputs that a notebook would have so far. */
import { Shown } from './types';

/** Maximum number of stored outputs; the newest stay. */
export const MOST_OUTPUTS = 100;

/** An output. An update replaces the object. */
export interface Output {
  key: number;
  id: string | null;
  data: Record<string, unknown>;
  metadata: Record<string, unknown>;
}

export class Outputs {
  /** Outputs from the oldest to the newest; a new array after each change. */
  list: readonly Output[] = [];
  /** Number of older outputs that were dropped. */
  omitted = 0;

  private next = 0;
  private clears = false;

  /** Apply a display: append an output, update the outputs with its id, or clear all. */
  add({ kind, id = null, data = {}, metadata = {}, wait }: Shown): void {
    if (kind === 'clear') {
      this.clears = !!wait;
      this.list = wait ? this.list : [];
    } else if (kind === 'update') {
      this.list = this.list.map(one => (id !== null && one.id === id ? { ...one, data, metadata } : one));
    } else {
      const before = this.clears ? [] : this.list;
      this.clears = false;
      this.list = [...before, { key: this.next++, id, data, metadata }];
      const over = Math.max(0, this.list.length - MOST_OUTPUTS);
      this.omitted += over;
      this.list = this.list.slice(over);
    }
  }
}
