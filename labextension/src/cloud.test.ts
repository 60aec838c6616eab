import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Cloud, PACE } from './cloud';
import { mergeRuns } from './runs';

const SIGNED_IN = { state: 'signed-in', base_url: '', is_local: true, balance_path: 'billing/credits' };
let paths: string[];
let answer: (path: string) => Response | Promise<Response>;

beforeEach(() => {
  vi.useFakeTimers();
  paths = [];
  answer = path => Response.json(path === 'status' ? SIGNED_IN : []);
  const network = (request: Request) => {
    const path = /\/lk\/([^?]*)/.exec(request.url)![1];
    paths.push(path);
    const aborted = new Promise<Response>((_, reject) =>
      request.signal.addEventListener('abort', () => reject(request.signal.reason as Error))
    );
    return Promise.race([answer(path), aborted]);
  };
  vi.stubGlobal('fetch', network);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test('what is wanted is heard at once, then one request goes out in two seconds at most, and none when it is hidden', async () => {
  const cloud = new Cloud();
  const wish = cloud.subscribe('running', 'journal', 'history', 'balance');
  await vi.advanceTimersByTimeAsync(0);
  expect(paths).toEqual(['status', 'api/workloads/list', 'journal', 'api/billing/history', 'api/billing/credits']);
  paths = [];
  await vi.advanceTimersByTimeAsync(60 * PACE);
  expect(paths.length).toBeLessThanOrEqual(60);
  expect(new Set(paths)).toContain('status');
  wish.dispose();
  paths = [];
  await vi.advanceTimersByTimeAsync(60 * PACE);
  expect(paths).toEqual([]);
});

test('a key that was revoked is a state, and nothing but the status is asked then', async () => {
  const cloud = new Cloud();
  answer = path =>
    path === 'status'
      ? Response.json(SIGNED_IN)
      : Response.json({ state: 'revoked', detail: 'Sign in.' }, { status: 424 });
  const wish = cloud.subscribe('running', 'history');
  await vi.advanceTimersByTimeAsync(0);
  expect(cloud.signedIn).toBe(false);
  expect(cloud.trouble).toMatchObject({ state: 'revoked', message: 'Sign in.' });
  expect(paths).toEqual(['status', 'api/workloads/list']);
  wish.dispose();
});

test('a cloud that is silent for a while is shown since its last request, until an answer arrives', async () => {
  const cloud = new Cloud();
  await cloud.refresh('status', 'running');
  const start = Date.now();
  let send: (response: Response) => void = () => undefined;
  answer = () => new Promise(resolve => (send = resolve));
  const request = cloud.refresh('running');
  await vi.advanceTimersByTimeAsync(7000);
  expect([cloud.unansweredSince, cloud.runs.silentSince]).toEqual([null, null]);
  await vi.advanceTimersByTimeAsync(2000);
  expect([cloud.unansweredSince, cloud.runs.silentSince]).toEqual([start, start]);
  send(Response.json([]));
  await request;
  expect([cloud.unansweredSince, cloud.runs.silentSince]).toEqual([null, null]);
});

test('HTML in place of an answer is told, and forgotten with the next answer', async () => {
  const cloud = new Cloud();
  await cloud.refresh('status');
  answer = () => new Response('<h1>Proxy</h1>', { headers: { 'content-type': 'text/html' } });
  await cloud.refresh('machines');
  expect(cloud.trouble?.message).toContain('text/html');
  answer = () => Response.json({ machine_types: [] });
  await cloud.refresh('machines');
  expect(cloud.trouble).toBeNull();
});

test('what was out of reach is asked for again soon, however seldom it is else', async () => {
  const cloud = new Cloud();
  const wish = cloud.subscribe('machines');
  await vi.advanceTimersByTimeAsync(0);
  answer = () => new Response('<h1>Proxy</h1>', { headers: { 'content-type': 'text/html' } });
  await cloud.refresh('status', 'machines');
  expect(Object.keys(cloud.troubles)).toEqual(['status', 'machines']);
  answer = path => Response.json(path === 'status' ? SIGNED_IN : {});
  await vi.advanceTimersByTimeAsync(6 * PACE);
  expect(cloud.trouble).toBeNull();
  wish.dispose();
});

test('the record of a run whose code runs is read until it shows since when, and no more often than a few times', async () => {
  const cloud = new Cloud();
  const records = () => paths.filter(path => path.startsWith('api/execution/')).length;
  let start: string | null = null;
  answer = path =>
    Response.json(
      path === 'status'
        ? SIGNED_IN
        : path.startsWith('api/execution/')
          ? { execution_id: 'a', status: 'running', start_time: start }
          : [{ execution_id: 'a', status: 'running', created_at: '' }]
    );
  await cloud.refresh('status', 'running');
  expect(records()).toBe(1);
  start = '2026-01-01T10:00:00Z';
  await cloud.refresh('running');
  await cloud.refresh('running');
  expect(records()).toBe(2);
  expect(cloud.data.records?.get('a')?.start_time).toBe(start);
});

test('a record that never arrives stops no other request, and is read again later', async () => {
  const cloud = new Cloud();
  const runs = ['a', 'b'].map(id => ({ execution_id: id, status: 'running', created_at: '' }));
  let record: () => Response | Promise<Response> = () => new Promise(() => undefined);
  answer = path => (path.startsWith('api/execution/') ? record() : Response.json(path === 'status' ? SIGNED_IN : runs));
  const subscription = cloud.subscribe('running');
  await vi.advanceTimersByTimeAsync(6 * PACE);
  expect(paths.filter(path => path === 'api/workloads/list').length).toBeGreaterThan(1);
  record = () => Response.json({ execution_id: 'a', status: 'running', start_time: '2026-01-01T10:00:00Z' });
  await vi.advanceTimersByTimeAsync(10 * PACE);
  expect([...cloud.data.records!.keys()]).toEqual(['a', 'b']);
  expect(cloud.trouble).toBeNull();
  subscription.dispose();
});

test('a list that never arrives is requested again after a minute', async () => {
  const cloud = new Cloud();
  answer = path => (path === 'status' ? Response.json(SIGNED_IN) : new Promise<Response>(() => undefined));
  const subscription = cloud.subscribe('running');
  await vi.advanceTimersByTimeAsync(59_000);
  expect(paths.filter(path => path === 'api/workloads/list')).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(2000);
  expect(cloud.trouble).toMatchObject({ state: 'unreachable' });
  answer = path => Response.json(path === 'status' ? SIGNED_IN : []);
  await vi.advanceTimersByTimeAsync(4 * PACE);
  expect([cloud.trouble, cloud.data.running]).toEqual([null, []]);
  subscription.dispose();
});

test('a run that begins and ends between two lists leaves no burn rate behind', async () => {
  const cloud = new Cloud();
  let things = [{ kind: 'run', id: 'short', name: 'cell.py', hardware: 'A100', per_hour: '1.59' }];
  answer = path =>
    path === 'burn-rate'
      ? Response.json({ things, per_hour: things.length ? '1.59' : '0', complete: true, label: '' })
      : Response.json(path === 'status' ? SIGNED_IN : []);
  await cloud.refresh('status', 'running', 'burnRate');
  expect(cloud.data.burnRate?.things).toHaveLength(1);
  things = [];
  await vi.advanceTimersByTimeAsync(0);
  expect(cloud.data.burnRate?.things).toEqual([]);
});

test('a run that is billed and in no list is looked for once', async () => {
  const cloud = new Cloud();
  const things = [{ kind: 'run', id: 'odd', name: 'cell.py', hardware: 'A100', per_hour: '1.59' }];
  answer = path =>
    path === 'burn-rate'
      ? Response.json({ things, per_hour: '1.59', complete: true, label: '' })
      : Response.json(path === 'status' ? SIGNED_IN : []);
  await cloud.refresh('status', 'running', 'burnRate');
  await vi.advanceTimersByTimeAsync(0);
  await cloud.refresh('burnRate', 'running', 'burnRate');
  await vi.advanceTimersByTimeAsync(0);
  expect(paths.filter(path => path === 'burn-rate')).toHaveLength(4);
});

test.each(['vms', 'deployments'] as const)('the burn rate is heard next when other %s are billed', async topic => {
  const cloud = new Cloud();
  let lists: object[] = [];
  answer = path => Response.json(path === 'status' ? SIGNED_IN : path === 'burn-rate' ? {} : { [topic]: lists });
  await cloud.refresh('status', topic, 'burnRate');
  const wish = cloud.subscribe(topic, 'burnRate');
  const asksWithin = async (paces: number) => {
    paths = [];
    await vi.advanceTimersByTimeAsync(paces * PACE);
    return paths.includes('burn-rate');
  };
  expect(await asksWithin(2)).toBe(false);
  lists = [{ vm_id: 'a', deployment_id: 'a', status: 'pending' }];
  await cloud.refresh(topic);
  expect(await asksWithin(2)).toBe(true);
  lists = [{ vm_id: 'a', deployment_id: 'a', status: 'stopped' }];
  await cloud.refresh(topic);
  expect(await asksWithin(2)).toBe(true);
  await cloud.refresh(topic);
  expect(await asksWithin(2)).toBe(false);
  wish.dispose();
});

test('a run that begins after the list of active runs was heard has not ended', async () => {
  const cloud = new Cloud();
  const old = { execution_id: 'old', base_url: '', state: 'running', going_on: true, created_at: 1, line: '' };
  let runs = [old];
  answer = path => Response.json(path === 'status' ? SIGNED_IN : path === 'journal' ? { runs, before: null } : []);
  await cloud.refresh('status', 'running', 'journal');
  const states = () => mergeRuns(cloud.data).map(run => [run.id, run.state]);
  expect(states()).toEqual([['old', 'ended']]);
  runs = [{ ...old, execution_id: 'new', created_at: 2 }, old];
  await cloud.refresh('journal');
  expect(states()).toEqual([
    ['new', 'running'],
    ['old', 'ended']
  ]);
  await cloud.refresh('journal', 'running');
  expect(states()).toContainEqual(['new', 'ended']);
});

test('a record that was read during a run is read again when no list contains the run', async () => {
  const cloud = new Cloud();
  const id = '00000000-0000-4000-8000-000000000000';
  const run = { execution_id: id, base_url: '', state: 'running', going_on: true, created_at: 1, line: '' };
  let record = { execution_id: id, status: 'running', created_at: '' };
  answer = path =>
    Response.json(
      path === 'status'
        ? SIGNED_IN
        : path === 'journal'
          ? { runs: [run], before: null }
          : path.startsWith('api/execution/')
            ? record
            : []
    );
  await cloud.refresh('status', 'running', 'journal');
  const following = cloud.runs.follow(id);
  await vi.advanceTimersByTimeAsync(PACE);
  expect(cloud.runs.find(id)).toMatchObject({ state: 'running', isActive: true });
  record = { ...record, status: 'completed' };
  await vi.advanceTimersByTimeAsync(5 * PACE);
  expect(cloud.runs.find(id)).toMatchObject({ state: 'completed', isActive: false });
  following.dispose();
});

test('a followed run whose record never arrives is read again after a minute', async () => {
  const cloud = new Cloud();
  const id = '00000000-0000-4000-8000-000000000000';
  let record: Response | Promise<Response> = new Promise<Response>(() => undefined);
  answer = path => (path.startsWith('api/execution/') ? record : Response.json(path === 'status' ? SIGNED_IN : []));
  await cloud.refresh('status', 'running');
  const following = cloud.runs.follow(id);
  await vi.advanceTimersByTimeAsync(30 * PACE);
  record = Response.json({ execution_id: id, status: 'completed', created_at: '' });
  await vi.advanceTimersByTimeAsync(5 * PACE);
  expect(cloud.runs.find(id)).toMatchObject({ state: 'completed' });
  following.dispose();
});

test('a sign-in by a kernel is read without a reload, and then every list', async () => {
  const cloud = new Cloud();
  let status: object = { state: 'signed-out', detail: 'Sign in.' };
  answer = path => Response.json(path === 'status' ? status : []);
  const subscription = cloud.subscribe('running', 'journal', 'balance');
  await vi.advanceTimersByTimeAsync(30 * PACE);
  expect([cloud.signedIn, new Set(paths)]).toEqual([false, new Set(['status'])]);
  status = SIGNED_IN;
  paths = [];
  await vi.advanceTimersByTimeAsync(4000);
  expect(cloud.signedIn).toBe(true);
  expect(paths).toEqual(expect.arrayContaining(['api/workloads/list', 'journal', 'api/billing/credits']));
  subscription.dispose();
});

test('another account, chosen by a kernel, replaces all that was read', async () => {
  const cloud = new Cloud();
  const subscription = cloud.subscribe('running', 'balance');
  await vi.advanceTimersByTimeAsync(0);
  paths = [];
  answer = path => Response.json(path === 'status' ? { ...SIGNED_IN, base_url: 'http://other' } : []);
  await cloud.refresh('status');
  await vi.advanceTimersByTimeAsync(0);
  expect(paths).toEqual(['status', 'api/workloads/list', 'api/billing/credits']);
  subscription.dispose();
});

test('topics that are invalidated again and again delay no other topic', async () => {
  const cloud = new Cloud();
  const subscription = cloud.subscribe('running', 'journal', 'balance', 'vms', 'burnRate');
  cloud.changed.connect((_, topic) => cloud.invalidate(topic === 'running' ? 'journal' : 'running'));
  await vi.advanceTimersByTimeAsync(0);
  paths = [];
  await vi.advanceTimersByTimeAsync(60_000);
  const count = (path: string) => paths.filter(each => each === path).length;
  expect(count('api/vms/list')).toBeGreaterThanOrEqual(4);
  expect(count('burn-rate')).toBeGreaterThanOrEqual(2);
  expect(count('api/billing/credits')).toBeGreaterThanOrEqual(2);
  expect(count('api/workloads/list') + count('journal')).toBeGreaterThanOrEqual(10);
  subscription.dispose();
});
