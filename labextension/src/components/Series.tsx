import React from 'react';

export interface Point {
  at: number;
  value: number | null;
}

/** One series as a line, with its figures in words beside it. */
export function Series({ title, unit, points }: { title: string; unit: string; points: Point[] }) {
  const values = points.map(point => point.value).filter((value): value is number => value !== null);
  if (!values.length) {
    return null;
  }
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [start, end] = [points[0].at, points[points.length - 1].at];
  const x = (at: number) => (end > start ? ((at - start) / (end - start)) * 296 + 2 : 150);
  const y = (value: number) => (high > low ? 48 - ((value - low) / (high - low)) * 44 : 26);
  const words = (value: number) => `${Number(value.toPrecision(3)).toLocaleString('en')} ${unit}`;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return (
    <figure className="lk-curve">
      <figcaption>
        {title}{' '}
        <span className="lk-quiet">
          mean {words(mean)}, least {words(low)}, most {words(high)}
        </span>
      </figcaption>
      <svg viewBox="0 0 300 52" preserveAspectRatio="none" aria-hidden="true">
        {pathsOf(points).map((part, at) =>
          part.length > 1 ? (
            <polyline key={at} points={part.map(p => `${x(p.at)},${y(p.value!)}`).join(' ')} />
          ) : (
            <circle key={at} cx={x(part[0].at)} cy={y(part[0].value!)} r="2" />
          )
        )}
      </svg>
    </figure>
  );
}

/** Points between gaps. */
function pathsOf(points: Point[]): Point[][] {
  const parts: Point[][] = [[]];
  for (const point of points) {
    if (point.value === null) {
      parts.push([]);
    } else {
      parts[parts.length - 1].push(point);
    }
  }
  return parts.filter(part => part.length);
}
