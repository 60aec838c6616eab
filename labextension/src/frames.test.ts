// @vitest-environment node
import { expect, test } from 'vitest';

import { buildFrame, stepFor } from './frames';
import { buildCharts } from './components/metrics';

const at = (second: number, value: number | null) => ({
  timestamp: new Date(1000 * second).toISOString(),
  value
});

test('an answer becomes columns in the units of the plots, with gaps where samples are missing', () => {
  const frame = buildFrame(
    {
      executionId: 'abcdefgh-1',
      hostname: 'node-1 (simulated GPU)',
      systemRamUsedBytes: [at(100, 2 ** 30), at(105, 2 ** 31), at(120, null)],
      systemCpuUsagePercent: [at(105, 50)]
    },
    100,
    5
  );
  const [ram, cpu] = buildCharts([frame]).panels;
  expect([frame.run, frame.host]).toEqual(['abcdefgh', 'node-1 (simulated GPU)']);
  expect([cpu.unit, ram.unit]).toEqual(['%', 'GiB']);
  const [seconds, used] = ram.data([0, 20], 100);
  expect(Array.from(seconds)).toEqual([0, 5, 10, 20]);
  expect(used).toEqual([1, 2, null, null]);
  expect(cpu.data([0, 20], 100)[1]).toEqual([null, 50, null, null]);
});

test('a longer window is read at a longer step', () => {
  expect([1, 5000, 86_400, 1e9].map(stepFor)).toEqual([1, 5, 120, 1_036_800]);
});
