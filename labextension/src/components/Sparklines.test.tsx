import { cleanup, render, screen } from '@testing-library/preact';
import React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { Sparklines } from './Sparklines';

const START = '2026-11-30T12:00:00Z';
const point = (second: number, value: number | null) => ({ timestamp: `2026-11-30T12:00:${second}Z`, value });
const answers = {
  run: { execution_id: 'e1', status: 'running', start_time: START },
  metrics: {
    gpuUtilizationPercent: [point(15, 20), point(30, 87.4), point(45, null)],
    gpuMemoryUtilizationPercent: [point(15, 5), point(30, 41)],
    systemCpuUsagePercent: [point(15, 12)],
    systemRamUsedBytes: [point(15, 3 * 2 ** 30), point(30, 6.5 * 2 ** 30)],
    systemRamTotalBytes: [point(15, 64 * 2 ** 30), point(30, 64 * 2 ** 30)]
  }
};
vi.hoisted(() => vi.stubGlobal('matchMedia', () => ({ addEventListener: () => undefined })));
vi.mock('../request', async original => ({
  ...(await original<object>()),
  request: async (path: string) => (path.includes('/metrics') ? answers.metrics : answers.run)
}));

afterEach(cleanup);

const draw = () => render((<Sparklines id="e1" isVisible={() => true} />) as never);

test('the GPU, its memory and the RAM are drawn with their last values, which screen readers read too', async () => {
  draw();
  const image = await screen.findByRole('img');
  expect(image.getAttribute('aria-label')).toBe('GPU 87 %, memory 41 %, RAM 10 % (6.5 of 64 GiB)');
  expect(image.querySelectorAll('path[d^="M"]').length).toBe(3);
});

test('a run without figures, and an ended run, have no sparkline', async () => {
  answers.run.status = 'completed';
  draw();
  await new Promise(done => setTimeout(done));
  expect(screen.queryByRole('img')).toBeNull();
});
