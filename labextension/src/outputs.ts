/** What a run shows beside its text: the outputs that a notebook would have by now. */
import { Shown } from './types';

/** Outputs that are kept: the newest. */
export const MOST_OUTPUTS = 100;

/** One of them; it stays the same object until it is shown anew. */
export interface Output {
  key: number;
  id: string | null;
  data: Record<string, unknown>;
  metadata: Record<string, unknown>;
}

export class Outputs {
  /** Anew after each change, the oldest first. */
  list: readonly Output[] = [];
  /** How many before them were left out. */
  omitted = 0;

  private next = 0;
  private clears = false;

  /** Show a new output, or one anew in the place of those with its id, or nothing more. */
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
