import { RefObject, useLayoutEffect, useRef, useState } from 'react';

/** Rows drawn beyond each edge, and rows drawn before the height of the list is known. */
const MARGIN = 12;
const FIRST = 40;

/** Return the range of visible rows, and a reference for the scrolling element. All rows have the same height. */
export function useWindow(
  count: number,
  height: number
): { box: RefObject<HTMLDivElement>; first: number; end: number } {
  const box = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState({ first: 0, end: FIRST });
  useLayoutEffect(() => {
    const element = box.current!;
    const look = () => {
      const first = Math.max(0, Math.floor(element.scrollTop / height) - MARGIN);
      const end = first + Math.ceil(element.clientHeight / height) + 2 * MARGIN;
      setAt(now => (now.first === first && now.end === end ? now : { first, end }));
    };
    const size = new ResizeObserver(look);
    size.observe(element);
    element.addEventListener('scroll', look, { passive: true });
    return () => {
      size.disconnect();
      element.removeEventListener('scroll', look);
    };
  }, [height]);
  return { box, first: Math.min(at.first, Math.max(0, count - 1)), end: Math.min(at.end, count) };
}
