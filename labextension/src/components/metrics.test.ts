// @vitest-environment node
import { expect, test } from 'vitest';

import { buildCharts, Frame, moveSpan, near, spanLabel, sparkline, summarize, thinned, entireSpan } from './metrics';

const CPU = { label: 'CPU', unit: '%', panel: 'CPU' };
const USE = { label: 'GPU utilization', unit: '%', panel: 'GPU' };
const MEMORY = { label: 'GPU memory', unit: '%', panel: 'GPU' };
const CLOCK = { label: 'GPU clock', unit: 'MHz', panel: 'Clocks' };
const POWER = { label: 'GPU power', unit: 'W', panel: 'Power' };
const LIMIT = { label: 'GPU power limit', unit: 'W', panel: 'Power' };

/** Pack a frame as Python does, at an odd offset of a longer message. */
function frame(run: string, series: Frame['series'], ...columns: number[][]): Frame {
  const bytes = new Uint8Array(new Float64Array(columns.flat()).buffer);
  const message = new Uint8Array(bytes.length + 3);
  message.set(bytes, 3);
  return { run, step: 1, series, points: new DataView(message.buffer, 3) };
}

test('series of one run that have one unit share a panel, and what is missing is a gap', () => {
  const { panels } = buildCharts([frame('a', [CPU, USE, MEMORY], [0, 1, 2], [5, NaN, 7], [1, 2, 3], [9, 9, 9])]);
  expect(panels.map(({ title, unit, lines }) => [title, unit, lines.length])).toEqual([
    ['GPU', '%', 2],
    ['CPU', '%', 1]
  ]);
  expect(panels[1].data([0, 2], 100)[1]).toEqual([5, null, 7]);
  expect(panels[0].data([0, 2], 100)[2]).toEqual([9, 9, 9]);
});

test('a limit is a rule in the chart of what it limits, and what never changes has no chart', () => {
  const series = [CLOCK, POWER, LIMIT];
  const charts = buildCharts([frame('a', series, [0, 1, 2], [1410, NaN, 1410], [1, 2, 3], [400, 400, 400])]);
  expect(charts.panels.map(({ title, limits, lines }) => [title, limits, lines.length])).toEqual([
    ['GPU power', [400], 1]
  ]);
  expect(charts.constant.map(line => line.label)).toEqual(['GPU clock']);
  expect(charts.lines.map(line => line.label)).toEqual(['GPU clock', 'GPU power', 'GPU power limit']);
  const varying = buildCharts([frame('a', [POWER, LIMIT], [0, 1], [1, 2], [300, 400])]);
  expect(varying.panels.map(({ limits, lines }) => [limits, lines.length])).toEqual([[[], 2]]);
});

test('what one looks at first is shown even if it never changes, and its small curve breaks in gaps', () => {
  const { tiles, panels } = buildCharts([frame('a', [CPU, USE], [0, 1, 2], [5, NaN, 50], [0, 0, 0])]);
  expect(tiles.map(lines => lines[0].label)).toEqual(['GPU utilization', 'CPU']);
  expect(panels.map(panel => panel.title)).toEqual(['GPU utilization', 'CPU']);
  expect(sparkline(tiles[1][0], 100).match(/M/g)).toHaveLength(2);
});

test('several runs are laid over each other, with a panel for each series', () => {
  const { panels, tiles } = buildCharts([
    frame('a', [CPU], [0, 2, 4], [1, NaN, 3]),
    frame('b', [CPU, POWER], [0, 1], [7, 8], [100, 200])
  ]);
  expect(panels.map(panel => [panel.title, panel.lines.map(line => [line.run, line.ink])])).toEqual([
    ['GPU power', [['b', 1]]],
    [
      'CPU',
      [
        ['a', 0],
        ['b', 1]
      ]
    ]
  ]);
  expect(tiles[1].map(line => line.run)).toEqual(['a', 'b']);
  const [x, a, b] = panels[1].data([0, 4], 100);
  expect(Array.from(x)).toEqual([0, 1, 2, 4]);
  expect(Array.from(a as number[])).toEqual([1, undefined, null, 3]); // undefined continues the line; null breaks the line
  expect(Array.from(b as number[]).slice(0, 2)).toEqual([7, 8]);
  expect([near(a as number[], 1), near(a as number[], 2)]).toEqual([1, null]); // near a time, but never in a gap
});

test('no samples and one sample have a window', () => {
  expect(entireSpan([])).toEqual([0, 1]);
  expect(buildCharts([frame('a', [])]).panels).toEqual([]);
  expect(entireSpan([frame('a', [CPU], [0.2], [5])])).toEqual([0, 1]);
});

test('a window zooms about its middle, moves by a part of itself, and does not leave the run at its start', () => {
  expect(moveSpan([0, 100], 0.5, 0, [0, 100])).toEqual([25, 75]);
  expect(moveSpan([25, 75], 1, 0.5, [0, 100])).toEqual([50, 100]);
  expect(moveSpan([25, 75], 4, 0, [0, 100])).toEqual([0, 100]);
});

test('a summary leaves gaps out', () => {
  expect(summarize(new Float64Array([1, NaN, 3]))).toEqual({ last: 3, least: 1, mean: 2, most: 3 });
  expect(summarize(new Float64Array([NaN]))).toBeNull();
});

test('time spans are said as people write them', () => {
  expect([0, 59.6, 185, 7800].map(spanLabel)).toEqual(['0 s', '1 min 00 s', '3 min 05 s', '2 h 10 min']);
});

test('where many samples share a pixel, no peak and no gap is lost', () => {
  const x = Float64Array.from({ length: 10_000 }, (_, at) => at);
  const line = x.map(at => (at === 5003 ? 99 : at === 7001 ? NaN : 1));
  const [moments, drawn] = thinned(x, [line], [0, 10_000], 100);
  expect(moments.length).toBeLessThanOrEqual(202);
  expect(Math.max(...(drawn as number[]))).toBe(99);
  expect((drawn as (number | null)[]).filter(value => value === null)).toHaveLength(1);
  expect(thinned(x, [line], [5000, 5010], 100)[1]).toHaveLength(13);
});
