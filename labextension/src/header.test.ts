import { expect, test } from 'vitest';

import { buildForms, buildHeader, ServerRun, hiddenLines, SavedRun, savedRun, savedRuns, splitReceipt } from './header';
import { RUN_MIME, mergeRuns } from './runs';

const ID = '3f0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44';
const SAVED = {
  execution_id: ID,
  state: 'running',
  machine: 'gpu.a100',
  price_per_hour: '1.59',
  time_limit_seconds: 300,
  seconds: 12,
  cost: '0.0053',
  cost_is: 'estimated'
};
const NOW = 1_767_261_642_000;
const STALE = NOW - 60_000;

const says = (data: object, run?: ServerRun, since = STALE, isLive = false, silent: number | null = null) =>
  buildHeader(savedRun(data)!, run, { now: NOW, second: NOW / 1000, isLive, since, silent });
const serverRow = (status: string, more = {}) =>
  mergeRuns({
    history: { executions: [{ execution_id: ID, status, hardware_profile: 'gpu.a100', ...more }] } as never
  })[0];

test('of an output only data of its kind is read, and no id that is none', () => {
  for (const odd of [
    null,
    'x',
    [],
    5,
    {},
    { state: 5 },
    { ...SAVED, execution_id: '../x' },
    { ...SAVED, execution_id: 7 }
  ]) {
    expect(savedRun(odd)).toBeNull();
  }
  const odd = { ...SAVED, machine: '{x}', seconds: '5', told: [1, 'a'], notes: 'b', time_limit_seconds: {} };
  const saved: SavedRun = savedRun(odd)!;
  expect(saved).toMatchObject({ machine: undefined, seconds: undefined, details: ['a'], notes: [], limit: null });
  expect(hiddenLines({ execution_id: ID, hidden_lines: 9 })).toEqual({ id: ID, count: 9 });
  expect(hiddenLines({ execution_id: '{x}', hidden_lines: 9 })).toBeNull();
});

test('the state in a header is the state of the cloud, whatever a notebook has saved', () => {
  const stopped = { ...SAVED, state: 'aborted' };
  expect(says(stopped, serverRow('failed'))).toMatchObject({ label: 'Failed', tone: 'failed' });
  expect(says(stopped, serverRow('completed'))).toMatchObject({ label: 'Completed' });
});

test('what the server says of a run goes before what a notebook keeps', () => {
  expect(says(SAVED, serverRow('completed', { billed: 0.2 }))).toMatchObject({
    label: 'Completed',
    tone: 'done',
    ended: true
  });
  expect(says({ ...SAVED, state: 'completed' }, serverRow('running'))).toMatchObject({
    label: 'Running',
    ended: false
  });
  expect(says(SAVED, serverRow('failed_user'))).toMatchObject({ label: 'Failed', tone: 'failed' });
  expect(says(SAVED, null)).toMatchObject({ label: 'Unknown', tone: 'unsure', bill: { cost: null } });
  expect(says({ ...SAVED, state: 'completed' }, null)).toMatchObject({ label: 'Completed', bill: { cost: 0.0053 } });
});

test('what a kernel has just written goes before lists that are heard later', () => {
  expect(says({ ...SAVED, state: 'completed' }, serverRow('running'), NOW)).toMatchObject({ label: 'Completed' });
  expect(says(SAVED, serverRow('pending'), STALE, true)).toMatchObject({ label: 'Running', bill: { seconds: 12 } });
  expect(says(SAVED, serverRow('aborted'), NOW, true)).toMatchObject({ label: 'Aborted', tone: 'stopped' });
});

test('an end that a notebook keeps stays what it is while the lists only tell that the run is gone', () => {
  const ended = { ...serverRow('running')!, state: 'ended', isActive: false };
  expect(says({ ...SAVED, state: 'completed' }, ended)).toMatchObject({ label: 'Completed', bill: { cost: 0.0053 } });
  expect(says(SAVED, ended)).toMatchObject({ label: 'Ended', ended: true });
});

test('a run whose cell is active has not ended because a list lacks it', () => {
  const ended = { ...serverRow('running')!, state: 'ended', isActive: false };
  expect(says({ ...SAVED, state: 'pending' }, ended, NOW, true)).toMatchObject({ label: 'Pending', ended: false });
});

test('the header of a cell in a session is about the cell, and the run of the session continues', () => {
  const data = { ...SAVED, session: 'train', name: 'session train', state: 'completed', cost: undefined };
  expect(says(data)).toMatchObject({ label: 'Completed', ended: true, bill: { seconds: 12 } });
  expect(says({ ...data, state: 'running' }, undefined, NOW, true)).toMatchObject({ label: 'Running', ended: false });
  expect(says({ ...data, state: 'running' })).toMatchObject({
    label: 'Unknown',
    notes: ['This output is no longer updated. List sessions: %lk_sessions']
  });
});

test('a run that waits is not billed, and says for how long it waits', () => {
  const created_at = new Date(NOW - 31_000).toISOString();
  const data = { ...SAVED, state: 'pending', seconds: undefined, cost: undefined, told: ['installing pandas'] };
  const header = says(data, serverRow('pending', { created_at }));
  expect(header).toMatchObject({ tone: 'waiting', waited: 31, details: ['installing pandas'], bill: { cost: null } });
});

test('without an answer the header claims no figure', () => {
  const silent = NOW - 25_000;
  expect(says(SAVED, serverRow('running'), STALE, false, silent)).toMatchObject({
    label: 'No answer for 0:25',
    details: ['cost unknown since then'],
    tone: 'unsure',
    bill: { cost: null, seconds: null }
  });
  expect(says(SAVED, serverRow('running'), NOW, true, silent)).toMatchObject({ label: 'Running' });
  expect(says(SAVED, serverRow('running'), NOW - 6000, true, silent)).toMatchObject({ label: 'No answer for 0:25' });
  const written = { ...SAVED, state: 'reconnecting', silent_seconds: 40 };
  expect(says(written, serverRow('running'), NOW, true)).toMatchObject({
    label: 'No answer for 0:40',
    details: ['cost unknown since then'],
    isSilent: true,
    bill: { cost: null, seconds: null }
  });
  expect(says({ ...SAVED, state: 'reconnecting' }, undefined, NOW, true)).toMatchObject({ label: 'Reconnecting' });
});

test('a run that was being sent when its kernel ended is not known to have started', () => {
  const data = { state: 'submitting', machine: 'gpu.a100' };
  expect(says(data, undefined, STALE, true)).toMatchObject({ id: null, label: 'Submitting', tone: 'waiting' });
  expect(says(data)).toMatchObject({ label: 'Unknown', tone: 'unsure' });
});

const before = {
  [RUN_MIME]: SAVED,
  'text/plain': '● running · gpu.a100 at 1.59 credits/h · 12 s · ≈ 0.0053 · run 3f0c2a9e'
};

test('a run that is active is saved with the line that follows it', () => {
  const forms = buildForms(savedRun(SAVED)!, serverRow('running'), before, 'stopped');
  expect(splitReceipt(forms)).toBeNull();
  expect(forms.data['text/plain']).toBe(
    '● running · gpu.a100 at 1.59 credits/h · run 3f0c2a9e\n' +
      '  This output is no longer updated. Follow the run: %lk_attach 3f0c2a9e'
  );
  expect(forms.data[RUN_MIME]).toMatchObject({ execution_id: ID, state: 'running' });
  expect(forms.metadata).toEqual({});
});

test('a run that has ended is saved with its time and cost, and leaves a receipt', () => {
  const run = serverRow('completed', {
    created_at: '2026-01-01T10:00:00Z',
    start_time: '2026-01-01T10:00:01Z',
    end_time: '2026-01-01T10:00:31Z',
    billed: 0.0133
  });
  const forms = buildForms(savedRun(SAVED)!, run, before, 'stopped');
  expect(forms.data['text/plain']).toMatch(
    /^✓ completed · gpu.a100 at 1.59 credits\/h · 30.* s · .*0.0133.* · run 3f0c/
  );
  const receipt = { execution_id: ID, state: 'completed', seconds: 30, cost: '0.0133', cost_is: 'billed' };
  expect(forms.metadata).toMatchObject({ lk_jupyter: receipt });
  const { heading, output } = splitReceipt(forms)!;
  expect(heading).toMatchObject({ data: { 'text/plain': '✓ completed · run 3f0c2a9e' }, metadata: {} });
  expect(savedRun(heading.data[RUN_MIME])).toMatchObject({ id: ID, state: 'completed', cost: '0.0133' });
  expect(output).toMatchObject({ data: { 'text/plain': forms.data['text/plain'] }, metadata: forms.metadata });
  expect(output.data['text/html']).toMatch(/^<div class="lk-receipt">.*completed/);
});

test('a log that the page continues needs no line to type', () => {
  const notes = (['continued', 'without figures', 'stopped'] as const).map(log => {
    const { data } = buildForms(savedRun(SAVED)!, serverRow('completed'), before, log);
    return (data[RUN_MIME] as { notes: string[] }).notes.join();
  });
  expect(notes).toEqual([
    '',
    "Some newer outputs can't be shown on this page. Show the complete output: %lk_attach 3f0c2a9e",
    'The newest output is missing. Show the complete output: %lk_attach 3f0c2a9e'
  ]);
});

test('the address of a Jupyter server stays below its header, without a line that follows a log', () => {
  const data = { ...SAVED, kind: 'server', notes: ['Address: http://127.0.0.1/'] };
  const [server, output] = [savedRun(data)!, { ...before, [RUN_MIME]: data }];
  const active = buildForms(server, serverRow('running'), output, 'stopped').data;
  expect(active['text/plain']).toBe(
    '● running · gpu.a100 at 1.59 credits/h · run 3f0c2a9e\n  Address: http://127.0.0.1/'
  );
  expect(active['text/html']).toContain('<div>Address: http://127.0.0.1/</div>');
  expect(savedRun(active[RUN_MIME])).toMatchObject({ isServer: true, notes: ['Address: http://127.0.0.1/'] });
  const ended = buildForms(server, serverRow('cancelled'), output, 'stopped').data;
  expect(savedRun(ended[RUN_MIME])).toMatchObject({ state: 'cancelled', notes: [] });
});

test('what a stranger wrote into an output stays text', () => {
  const odd = { ...before, 'text/plain': '● x · <img src=x onerror=alert(1)> at 1' };
  expect(buildForms(savedRun(SAVED)!, null, odd, 'stopped').data['text/html']).not.toContain('<img');
});

test('runs that were started together are read one by one, and what is none is left out', () => {
  const saved = savedRuns({ head: '2 runs', runs: [{ ...SAVED, name: 'lr=0.1' }, { state: 5 }], notes: ['a', 1] });
  expect(saved).toMatchObject({ head: '2 runs', runs: [{ id: ID, name: 'lr=0.1', state: 'running' }], notes: ['a'] });
  expect(
    buildHeader(saved!.runs[0], undefined, { now: NOW, second: 0, isLive: true, since: NOW, silent: null }).name
  ).toBe('lr=0.1');
  for (const odd of [null, SAVED, { head: '', runs: {} }, { runs: [] }]) {
    expect(savedRuns(odd)).toBeNull();
  }
});
