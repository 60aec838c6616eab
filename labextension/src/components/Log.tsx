import React, { UIEvent, useEffect, useLayoutEffect, useRef, useState } from 'react';

export interface LogProps {
  count: number;
  line: (at: number) => { text: string; colour: number; bold: boolean }[];
  /** Lines that were found; the one at `current` is shown. */
  found: number[];
  current: number;
  label: string;
  /** Stay at the end while lines come. */
  follows: boolean;
}

const HEIGHT = 18; // pixels of a line, as in the style
const SPARE = 20;
/** Browsers draw nothing below some ten million pixels: a longer log scrolls by parts of lines. */
const TALLEST = 8_000_000;

/** A log of any length: the lines that are seen are drawn, no others. */
export function Log({ count, line, found, current, label, follows }: LogProps) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const wanted = count * HEIGHT;
  const tall = Math.min(wanted, TALLEST);
  const scale = wanted > tall && tall > height ? (wanted - height) / (tall - height) : 1;
  const atEnd = useRef(follows);

  useEffect(() => {
    const observer = new ResizeObserver(() => setHeight(box.current?.clientHeight ?? 400));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (atEnd.current && box.current) {
      box.current.scrollTop = tall;
    }
  }, [count]);
  useEffect(() => {
    if (found.length && box.current) {
      atEnd.current = false;
      box.current.scrollTop = Math.max(0, found[current] * HEIGHT - height / 2) / scale;
    }
  }, [found, current]);

  const scrolled = (event: UIEvent<HTMLDivElement>) => {
    const { scrollTop, clientHeight, scrollHeight } = event.currentTarget;
    atEnd.current = follows && scrollTop + clientHeight > scrollHeight - 2 * HEIGHT;
    setTop(scrollTop);
  };
  const first = Math.max(0, Math.floor((top * scale) / HEIGHT) - SPARE);
  const last = Math.min(count, Math.ceil((top * scale + height) / HEIGHT) + SPARE);
  const marked = found[current];
  return (
    <div ref={box} className="lk-paper" role="region" aria-label={label} tabIndex={0} onScroll={scrolled}>
      <div style={{ height: tall }}>
        <div className="lk-paper-lines" style={{ transform: `translateY(${first * HEIGHT - top * (scale - 1)}px)` }}>
          {Array.from({ length: Math.max(0, last - first) }, (_, at) => first + at).map(at => (
            <div key={at} className={at === marked ? 'lk-paper-line lk-found' : 'lk-paper-line'}>
              {line(at).map((piece, part) => (
                <span key={part} className={`lk-ansi${piece.colour}${piece.bold ? ' lk-bold' : ''}`}>
                  {piece.text}
                </span>
              ))}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}
