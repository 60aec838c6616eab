/** Data of a run document: output, record and metrics. */
import { useEffect, useMemo, useState } from 'react';

import { Cloud } from '../cloud';
import { RunRow, Topic } from '../cloudTypes';
import { Curve } from '../components/scalars';
import { LogLines } from '../components/logLines';
import { Frame, Span } from '../components/metrics';
import { buildFrame, stepFor } from '../frames';
import { hasEnded } from '../runs';
import { Outputs } from '../outputs';
import { request, Trouble } from '../request';
import { mergeRuns } from '../runs';
import { follow, PASSING, REST } from '../stream';
import { ExecutionMetrics, ExecutionRecord, Shown, StreamEnd } from '../types';
import { moment } from '../format';

/** Milliseconds between requests for an active run. */
const PACE = 5000;

/** Return whether the document is visible. */
export type VisibilityCheck = () => boolean;

export interface RunOutputState {
  log: LogLines;
  count: number;
  /** Displays of the run, and the number of older displays that were dropped. */
  displays: Outputs['list'];
  omitted: number;
  /** The numbers that the run prints repeatedly. */
  curves: Curve[];
  end: StreamEnd | null;
  trouble: Trouble | null;
}

const NOTHING = { count: 0, displays: [], omitted: 0, curves: [], end: null, trouble: null };

/**
 * Follow the output while the document is open, also across broken connections. Draw at most once per animation frame.
 */
export function useOutput(id: string): RunOutputState {
  const log = useMemo(() => new LogLines(), [id]);
  const [state, setState] = useState<Omit<RunOutputState, 'log'>>(NOTHING);
  useEffect(() => {
    const asks = new AbortController();
    let frame = 0;
    let receivedLength = 0;
    let outputs = new Outputs();
    let curves: Curve[] = [];
    let end: StreamEnd | null = null;
    const draw = (trouble: Trouble | null = null) => {
      cancelAnimationFrame(frame); // a planned draw would show older data
      frame = 0;
      setState({ count: log.count, displays: outputs.list, omitted: outputs.omitted, curves, end, trouble });
    };
    const drawSoon = () => (frame ||= requestAnimationFrame(() => draw()));
    const read = async () => {
      let replayedLength = receivedLength; // a stream starts with the first line again
      outputs = new Outputs();
      const onOutput = (text: string) => {
        const fresh = text.slice(replayedLength);
        replayedLength = Math.max(0, replayedLength - text.length);
        receivedLength += fresh.length;
        log.add(fresh);
        drawSoon();
      };
      const onDisplay = (display: Shown) => {
        outputs.add(display);
        drawSoon();
      };
      const onCurves = (all: Curve[]) => {
        curves = all;
        drawSoon();
      };
      const onEnd = (ended: StreamEnd) => {
        end = ended;
        draw();
      };
      await follow(id, asks.signal, { onOutput, onDisplay, onCurves, onEnd });
    };
    const failed = async (failure: Trouble) => {
      draw(failure);
      if (PASSING.has(failure.state)) {
        await new Promise(done => setTimeout(done, REST));
        await attempt();
      }
    };
    const attempt = async (): Promise<void> => {
      try {
        await read();
      } catch (failure) {
        await (asks.signal.aborted || failed(failure as Trouble));
      }
    };
    void attempt();
    return () => {
      asks.abort();
      cancelAnimationFrame(frame);
    };
  }, [id]);
  return { log, ...state };
}

/** Return the row of a run in the lists of the panel, and request the lists that are missing. */
export function useRow(cloud: Cloud, id: string): RunRow | null {
  const find = () => mergeRuns(cloud.data).find(run => run.id === id) ?? null;
  const [row, setRow] = useState(find);
  useEffect(() => {
    const look = () => setRow(find());
    cloud.changed.connect(look);
    const unheard = (['status', 'machines'] as Topic[]).filter(topic => !cloud.data[topic]);
    void cloud.refresh(...unheard, ...(row?.notebook ? [] : (['journal'] as Topic[])));
    return () => void cloud.changed.disconnect(look);
  }, [id]);
  return row;
}

export interface Answer<T> {
  answer: T | null;
  trouble: Trouble | null;
}

/**
 * Send a request now, whenever `again` changes, and every few seconds while the document is visible and `live` returns
 * true.
 */
export function useAnswer<T>(
  path: string | null,
  again: unknown,
  isVisible: VisibilityCheck,
  live: (answer: T | null) => boolean
): Answer<T> {
  const [state, setState] = useState<Answer<T>>({ answer: null, trouble: null });
  useEffect(() => {
    const asks = new AbortController();
    let clock = 0;
    const ask = () =>
      request<T>(path!, { signal: asks.signal }).then(
        answer => {
          setState({ answer, trouble: null });
          plan(answer);
        },
        (trouble: Trouble) => {
          if (!asks.signal.aborted) {
            setState(old => ({ ...old, trouble }));
            if (trouble.response?.status !== 404) {
              plan(null);
            }
          }
        }
      );
    const look = () => (isVisible() && !document.hidden ? void ask() : plan(null));
    const plan = (answer: T | null) => {
      clock = live(answer) ? window.setTimeout(look, PACE) : 0;
    };
    if (path) {
      void ask();
    }
    return () => {
      asks.abort();
      clearTimeout(clock);
    };
  }, [path, again]);
  return state;
}

/** Read the record repeatedly until the run has ended. */
export function useRecord(id: string, end: unknown, isVisible: VisibilityCheck): Answer<ExecutionRecord> {
  return useAnswer<ExecutionRecord>(
    `api/execution/${encodeURIComponent(id)}`,
    end,
    isVisible,
    run => !run || !hasEnded(run)
  );
}

/** Read the metrics of a time span of a run, or of all its time; repeatedly while the run is active. */
export function useMetrics(run: ExecutionRecord | null, span: Span | null, isVisible: VisibilityCheck) {
  const start = moment(run?.start_time ?? run?.job_start ?? run?.created_at) ?? 0;
  const last = moment(run?.end_time ?? run?.job_end ?? run?.finish_time);
  const [first, end] = span ? [start + span[0], start + span[1]] : [start, last ?? Date.now() / 1000];
  const step = stepFor(end - first);
  const query = new URLSearchParams({ step: `${step}s` });
  if (span) {
    query.set('start', toIso(first));
    query.set('end', toIso(end));
  }
  const path = run && `api/execution/${encodeURIComponent(run.execution_id)}/metrics?${query.toString()}`;
  const { answer, trouble } = useAnswer<ExecutionMetrics>(path, last, isVisible, () => last === null);
  const frames = useMemo<Frame[]>(() => {
    const frame = answer && buildFrame(answer, start, step);
    return frame?.series.length ? [frame] : [];
  }, [answer]);
  return { frames, isLoaded: !!answer, trouble };
}

const toIso = (seconds: number) => new Date(1000 * seconds).toISOString();
