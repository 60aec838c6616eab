/** Server-sent events of the Jupyter server. */
import { open, Trouble } from './request';
import { trans } from './trans';
import { Shown, StreamCurves, StreamEnd, StreamFinished, StreamOutput, StreamShown, StreamTrouble } from './types';

/** Troubles that pass, and the milliseconds before a broken stream is opened again. */
export const PASSING = new Set(['unreachable', 'slow', 'not-an-api']);
export const REST = 3000;

type Event = StreamOutput | StreamShown | StreamCurves | StreamFinished | StreamTrouble;

export interface Listener {
  onOutput: (text: string) => void;
  onDisplay: (display: Shown) => void;
  /** All curves so far; a stream of complete lines has no curves. */
  onCurves?: (curves: StreamCurves['curves']) => void;
  /** The end of the run, after which only the last curves are sent. */
  onEnd?: (end: StreamEnd) => void;
}

/** What a cell shows of a run: the number of lines that aren't blank, and the number of the last output. */
export interface Position {
  lines: number;
  output: number;
}

/**
 * Pass the output and the displays of a run to a listener, and return the end of the run when the stream ends. With
 * `after`, pass complete lines and outputs after a position; otherwise, pass everything from the start. Raises Trouble.
 */
export async function follow(
  id: string,
  signal: AbortSignal,
  listener: Listener,
  after: Position | null = null
): Promise<StreamEnd> {
  const query = after ? `?after=${after.lines}&after_output=${after.output}` : '';
  const response = await open(`runs/${encodeURIComponent(id)}/stream${query}`, { signal });
  let end: StreamEnd | null = null;
  try {
    for await (const event of events(response.body!)) {
      if ('output' in event) {
        listener.onOutput(event.output);
      } else if ('shown' in event) {
        listener.onDisplay(event.shown);
      } else if ('curves' in event) {
        listener.onCurves?.(event.curves);
      } else if ('finished' in event) {
        end = event.finished;
        listener.onEnd?.(end);
      } else {
        throw new Trouble(event.trouble.state, event.trouble.detail);
      }
    }
  } catch (failure) {
    if (!end || signal.aborted) {
      throw failure;
    } // the run is known to its end; only the last curves are missing
  }
  if (end) {
    return end;
  }
  throw new Trouble('unreachable', trans.__('The log stopped before the run ended. Open the log again to continue.'));
}

/** Read events from chunks that may end anywhere, even inside a character. Comments and other fields are ignored. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let parts: string[] = []; // chunks of an incomplete line: joined once, because a line may have megabytes
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const lines = decoder.decode(value, { stream: true }).split('\n');
      parts.push(lines[0]);
      for (const line of lines.slice(1)) {
        const complete = parts.join('').trimEnd();
        if (complete.startsWith('data: ')) {
          yield JSON.parse(complete.slice(6)) as Event;
        }
        parts = [line];
      }
    }
  } finally {
    await reader.cancel();
  }
}
