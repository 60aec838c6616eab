/** All states of all components on one page, for visual tests. The extension doesn't include this module. */
import React, { ReactElement, useEffect, useMemo, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { savedBoard } from './board';
import { ActiveNow } from './components/ActiveNow';
import { Chat } from './components/Chat';
import type { IconName } from './components/Icon';
import { Rows } from './components/Rows';
import type { Listing } from './components/folders';
import { Leaderboard } from './components/Leaderboard';
import { MachinePicker } from './components/MachinePicker';
import { Frame } from './components/metrics';
import { MetricsPlot } from './components/MetricsPlot';
import { Preview } from './components/Preview';
import { askAboutConflict, QuestionContent, Question } from './components/Question';
import { RunDetails } from './components/RunDetails';
import { HiddenLines, RunHeader, useSight } from './components/RunHeader';
import { RunList } from './components/RunList';
import { RunRow } from './cloudTypes';
import { RunsTable } from './components/RunsTable';
import { buildHeader, ServerRun, savedRun } from './header';
import { Head } from './panels/Head';
import { Trouble } from './request';
import { StorageBrowser, Uploading } from './widgets/storage_browser';
import type { Tools } from './panels/tools';
import { thisSecond } from './serverClock';
import { computeRowBill, mergeRuns } from './runs';

const NOW = Date.UTC(2026, 0, 15, 12) / 1000;
const nothing = () => undefined;
const later = () => new Promise<never>(nothing);

const A100 = { machine: 'gpu.a100', price_per_hour: '1.59', time_limit_seconds: 300 };
const makeId = (at: number) => `${String(at).padStart(8, '0')}-5b1d-4c7e-9a52-${String(at).padStart(12, '0')}`;

/** Return the facts of a header as an output stores them. */
const detailed = (...told: string[]) => ({ told });

/** Data saved in an output, the row of the run, and the time since which no server answers. */
type HeaderExample = [data: object, row?: ServerRun, silent?: number];
const HEADERS: HeaderExample[] = [
  [{ state: 'submitting', ...detailed('at most 0.1325 credits (time limit 300 s)') }],
  [{ state: 'pending', ...detailed('installing pandas, torch +2') }],
  [{ state: 'running', seconds: 42, cost: '0.018', cost_is: 'estimated' }],
  [{ state: 'running', seconds: 250, cost: '0.11', cost_is: 'estimated' }],
  [{ state: 'reconnecting', seconds: 50 }],
  [{ state: 'running', seconds: 50 }, undefined, NOW * 1000 - 25_000],
  [{ state: 'running', seconds: 50 }, null],
  [{ state: 'completed', seconds: 9.1, cost: '0.004', cost_is: 'billed' }],
  [{ state: 'failed_user', seconds: 0.5, cost: '0.0002', cost_is: 'billed' }],
  [{ state: 'aborted', seconds: 75, cost: '0.0331', notes: ['Install it: https://example.org/numpy.'] }],
  [
    {
      state: 'stopping',
      seconds: 60,
      cost: '0.0265',
      cost_is: 'estimated',
      ...detailed('interrupt again to stop waiting')
    }
  ],
  [{ state: 'queued locally', name: '2 · lr=0.01', execution_id: undefined }],
  [
    {
      ...{ state: 'completed', session: 'kernel-353ccd1d77a53e53', name: 'session kernel-353ccd1d77a53e53' },
      ...{ seconds: 8.2, ...detailed('1.59 credits/h', 'released at 14:55', '≈ 0.0009 credits so far') }
    }
  ]
];

function Headers() {
  return (
    <>
      {HEADERS.map(([data, row, silent = null], at) => {
        const saved = savedRun({ ...A100, execution_id: makeId(at), ...data })!;
        const isLive = row === undefined && silent === null;
        const header = buildHeader(saved, row, { now: NOW * 1000, second: NOW, isLive, since: 0, silent });
        const chip = at ? null : { label: 'Local cloud, no GPU', title: '' };
        return (
          <RunHeader
            key={at}
            {...{ header, chip }}
            {...{ onStop: nothing, onRerun: nothing, onOpen: nothing, onMenu: nothing }}
          />
        );
      })}
      <HiddenLines count={49_600} onOpen={nothing} />
    </>
  );
}

const view = {
  ...{ title: makeId(0).slice(0, 8), run: {}, reason: '', local: true, ended: false, stopping: false, held: true },
  ...{ deaf: false, total: 2, live: '', frames: [], empty: 'No samples yet.' },
  onAsk: (action: string) =>
    action === 'lines' ? Promise.resolve<never>({ first: 0, lines: ['epoch 1', 'epoch 2'] } as never) : later()
};
const viewed = { ...A100, execution_id: makeId(0), notes: ['Started 15 Jan 2026 11:59:18', 'No GPU on this machine.'] };

/** A run as a widget has the run, active and after a failure. */
function RunViews() {
  return (
    <>
      <RunDetails {...view} run={{ ...viewed, state: 'running', seconds: 42, cost: '0.018', cost_is: 'estimated' }} />
      <RunDetails
        {...view}
        run={{ ...viewed, state: 'failed_user', seconds: 9.1, cost: '0.004', cost_is: 'billed' }}
        reason="Run 00000000 ended with exit code 1 (NameError: name 'y' is not defined)."
        {...{ ended: true, held: false }}
      />
    </>
  );
}

/** An upload in progress, and a question about an existing name. */
function Uploads() {
  const [question, ask] = useState<QuestionContent | null>(null);
  useEffect(() => void askAboutConflict('data/train.parquet', ask), []);
  return (
    <>
      <Uploading name="a name that is longer than most names of files are.csv" share={0.42} onStop={nothing} />
      {question && <Question question={question} onEnd={nothing} />}
    </>
  );
}

const active = ['train', 'a name that is longer than the place is wide, and then some'].map((name, at) => ({
  ...{ id: makeId(at), name, machine: 'gpu.a100', perHour: at ? null : 1.59, time: at ? '' : '0:42' },
  ...(!at && { onStop: nothing })
}));

/** Runs of two days, in each state. */
function rows(count: number) {
  const states = ['running', 'pending', 'completed', 'failed_user', 'aborted', 'completed'];
  const executions = Array.from({ length: count }, (_, at) => {
    const created = NOW - 60 - at * 14_000;
    const [status, isOver] = [states[at % states.length], at % states.length > 1];
    const iso = (second: number) => new Date(1000 * second).toISOString();
    return {
      ...{
        execution_id: makeId(at),
        status,
        created_at: iso(created),
        hardware_profile: at % 2 ? 'gpu.l40s' : 'gpu.a100'
      },
      ...(status !== 'pending' && { start_time: iso(created + 5) }),
      ...(isOver && { end_time: iso(created + 50 + at), billed: 0.0173 })
    };
  });
  const long = 'a name that is longer than the panel is wide, and then some';
  return mergeRuns({ history: { executions } }).map((row, at) => ({
    ...row,
    name: at % 3 ? `train-${at}` : long
  }));
}

const listed = {
  getCount: () => null,
  ...{ now: NOW, getBill: computeRowBill, onMenu: nothing, onOpen: nothing, onAbort: nothing, onRerun: nothing },
  onGoToCell: nothing
};

const cloud = {
  ...{ trouble: null, troubles: {}, signedIn: true },
  data: { balance: { remaining_credits: 41.2 }, burnRate: { per_hour: '4.38', complete: true, things: [{}, {}] } }
};

const machine = (profile: string, memory: string, price: string, free: string, worst: string) => ({
  ...{ profile, gpu: profile.slice(4).toUpperCase(), memory_gib: memory, gpus: '1', vcpus: '–', ram_gib: '–' },
  ...{ price_per_hour: price, worst, allowed: 'yes', free }
});
const picker = {
  wish: { memory: '', price: '', available: false, text: '', limit: '', by: 'price_per_hour', descending: false },
  rows: [
    machine('gpu.l40s', '48', '1.07', 'yes', '0.1783 credits'),
    machine('gpu.a100', '80', '1.59', 'yes', '0.2650 credits'),
    machine('gpu.h100', '80', '2.79', 'no', '0.4650 credits'),
    machine('gpu.b200', '180', '4.99', '?', '0.8317 credits')
  ],
  ...{ total: '4 of 7 machines.', value: 'gpu.a100', default: 'gpu.l40s', problem: '' },
  ...{ onWish: nothing, onChoose: nothing, onCheapest: later, onDefault: later }
};

const SERIES = [
  ['GPU utilization', '%', 'GPU', (at: number) => 60 + 35 * Math.sin(at / 9)],
  ['GPU memory', '%', 'GPU', (at: number) => Math.min(71, 4 * at)],
  ['GPU temperature', '°C', 'Temperature', (at: number) => 40 + Math.min(30, at)],
  ['GPU power', 'W', 'Power', (at: number) => 210 + 90 * Math.sin(at / 9)],
  ['GPU power limit', 'W', 'Power', () => 400],
  ['GPU memory clock', 'MHz', 'Clocks', () => 1215],
  ['CPU', '%', 'CPU', (at: number) => (at > 40 && at < 46 ? NaN : 12 + (at % 7))],
  ['RAM used', 'GiB', 'RAM', (at: number) => 3 + at / 25],
  ['RAM total', 'GiB', 'RAM', () => 8]
] as const;

function frame(run: string, host: string, shift: number): Frame {
  const times = Array.from({ length: 120 }, (_, at) => at);
  const columns = SERIES.map(([, , , value]) => times.map(at => value(at + shift)));
  return {
    ...{ run, host, step: 5, series: SERIES.map(([label, unit, panel]) => ({ label, unit, panel })) },
    points: new DataView(new Float64Array([times.map(at => 5 * at + shift / 10), ...columns].flat()).buffer)
  };
}
const one = [frame('3f0c2a9e', 'node-1 (simulated GPU)', 0)];
const three = ['lr=0.1', 'lr=0.01', 'lr=0.001'].map((name, at) => frame(name, 'node-1', 11 * at));

const ANSWER =
  '<p>Use <strong>two</strong> GPUs; see <a href="https://example.org">the guide</a>.</p><ol><li>Load it.</li>' +
  '<li>Run it:</li></ol><pre><code>import torch\nprint(torch.cuda.is_available())</code></pre>' +
  '<table><tr><th>GPU</th><th>Memory</th></tr><tr><td>A100</td><td>80 GiB</td></tr></table>' +
  '<p><a href="https://example.org/plot.png">a plot</a></p>';
const chat = {
  ...{ model: 'local/echo', models: ['local/echo'], spent: 'Cost so far: 0.0041 credits' },
  turns: [
    { who: 'you', text: 'How do I use two GPUs?', reasoning: '', facts: '' },
    { who: 'local/echo', text: 'x', html: ANSWER, reasoning: 'They ask for two.', facts: '7 + 85 tokens · 2.1 s' },
    { who: 'you', text: 'And four?', reasoning: '', facts: '' },
    { who: 'local/echo', text: '', reasoning: '', facts: 'waiting' }
  ],
  ...{ onModel: nothing, onAsk: later, onStop: later, onClear: later }
};

const item = (key: string, size = '', written = '') => ({ key, size, written });
const listing = (...items: ReturnType<typeof item>[]): Listing => ({ items, token: '', begins: '', is_read: true });
const folders = {
  '': {
    ...listing(item('data/'), item('models/'), item('notes.md', '1.2 kB', '14 Jan 2026 09:30')),
    token: 'next'
  },
  'data/': listing(
    item('data/train.parquet', '48 MB', '15 Jan 2026 11:02'),
    item('data/a name that is longer than most names of files are.csv', '96 B', '3 Jan 2026 18:45')
  ),
  'models/': listing()
};
const preview = {
  ...{ key: 'data/train.parquet', size: '48 MB', written: '15 Jan 2026 11:02' },
  words: 'Table, 1,200,000 rows, 4 columns, 48 MB.',
  ...{ text: '', image: null, mime: '', is_part: true, kind: 'table' as const },
  columns: [
    ['city', 'string'],
    ['count', 'int64'],
    ['price', 'double'],
    ['day', 'date32[day]']
  ] as [string, string][],
  rows: [
    ['Ulm', '12', '3.14159265', '2026-01-02'],
    ['Köln', '1024', '', '2026-01-03'],
    ['', '7', '0.000012345678', '2026-01-04']
  ],
  ...{ remote: '/mnt/s3/data/train.parquet', free: 'train' }
};
const browser = { root: '', folders, seen: preview, loaded: {}, transfer: '', set: nothing, ask: later };
const code = 'import pandas as pd\n\ntrain = pd.read_parquet("lk://data/train.parquet")';
const emptyPreview = { ...preview, columns: [], rows: [], is_part: false };
const previews = [
  { ...browser, loaded: { key: preview.key, words: 'train: DataFrame, 1,200,000 rows, 4 columns', code } },
  { ...browser, loaded: { key: preview.key, words: 'train.parquet needs 9.1 GB, 6.2 GB are free.', offer: 100_000 } },
  {
    ...browser,
    seen: {
      ...emptyPreview,
      words:
        'This needs pyarrow in the environment of the Jupyter server. Load the file in a notebook, or install it ' +
        'there: pip install "pyarrow>=16"'
    }
  },
  {
    ...browser,
    seen: {
      ...emptyPreview,
      key: 'notes.md',
      remote: '/mnt/s3/notes.md',
      kind: '' as const,
      words: 'Text, 1.2 kB.',
      text: '# Notes\n\nUse lr=0.1'
    }
  }
];

const tableRow = (at: number, state: string, cost: string) => ({
  ...{
    id: makeId(at),
    run: makeId(at).slice(-8),
    state,
    machine: 'A100',
    started: '15 Jan 12:00',
    took: `${at}.4 s`,
    cost
  },
  ...{ name: `train-${at}`, words: '', ended: state !== 'running', sort: {} }
});
const table = {
  rows: [tableRow(1, 'running', '≈ 0.018'), tableRow(2, 'completed', '0.0040'), tableRow(3, 'failed', '0.0002')],
  ...{ note: '', onOpen: later, onAbort: later, onPrice: later, onRerun: later, onCompare: later }
};

const act = (icon: IconName, name: string) => ({ icon, name, words: name, onAct: nothing });
const rented = ['train', 'a name that is longer than the panel is wide'].map((title, at) => ({
  ...{ key: makeId(at), title, state: { icon: 'running' as const, words: 'running' } },
  facts: ['2 × H100', '5.58 credits/h', '1.24 credits', '203.0.113.7'],
  acts: [act('code', `Log in to ${title}`), act('remove', `Delete ${title}`)]
}));

/** Number of runs from which the list of the panel scrolls. */
const MANY_RUNS = 100;

/** The panel with other states of the cloud. */
function renderPanel(state: object, runs = 0) {
  const height = runs > MANY_RUNS ? 400 : undefined;
  return (
    <div style={{ width: 280, height, display: 'flex', flexDirection: 'column' }} className="lk-panel">
      <Head
        tools={{ cloud: { ...cloud, ...state }, say: nothing } as unknown as Tools}
        notice={{ kind: 'info', text: '' }}
      />
      {!('trouble' in state) && <RunList {...listed} runs={rows(runs)} />}
    </div>
  );
}

const BOARD_ACTIONS = { onUse: nothing, onStop: nothing, onStopAll: nothing, onRerun: nothing, onOpen: nothing };

/** State, last loss and accuracy, share of the work, marks and reason of a run in the leaderboard. */
type MemberExample = [state: string, loss: number, share: number | null, marks: string[], notes: string[]];
const MEMBERS: MemberExample[] = [
  ['completed', 0.21, null, ['cheapest that finished'], []],
  ['completed', 0.0432, null, ['best accuracy', 'fastest'], []],
  ['completed', 0.9, null, [], []],
  ['running', 0.33, 0.6, [], []],
  ['failed_user', 4.1, null, [], ['FloatingPointError: the loss is nan']],
  ['queued locally', 0, null, [], []]
];

function FinishedLeaderboard() {
  const steps = Array.from({ length: 30 }, (_, at) => at + 1);
  const board = savedBoard({
    ...{ head: '6 runs', notes: [] },
    board: { swept: ['lr', 'batch'], score: { name: 'accuracy', highest: true }, names: ['accuracy', 'loss', 'lr'] },
    runs: MEMBERS.map(([state, loss, share, marks, notes], at) => ({
      ...A100,
      ...{ machine: at % 2 ? 'gpu.l40s' : 'gpu.a100', state, share, marks, notes, number: at + 1 },
      ...(loss ? { execution_id: makeId(at), seconds: 31 + at, cost: `0.01${at}`, cost_is: 'billed' } : {}),
      ...{
        values: { lr: ['0.3', '0.03', '0.003'][at % 3], batch: String(32 << (at % 2)) },
        score: loss ? 1 - loss : null
      },
      curves: loss
        ? [
            { name: 'accuracy', steps, values: steps.map(step => 1 - loss - 1 / (step + 1)) },
            { name: 'loss', steps, values: steps.map(step => loss + 2 / step) },
            { name: 'lr', steps, values: steps.map(step => 0.3 / step) }
          ]
        : []
    }))
  })!;
  const times = { now: NOW * 1000, second: NOW, isLive: true, since: NOW * 1000, silent: null };
  const headers = board.members.map(({ saved }) => buildHeader(saved, undefined, times));
  return <Leaderboard board={board} headers={headers} actions={BOARD_ACTIONS} />;
}

const SCENES: Record<string, ReactElement> = {
  header: <Headers />,
  panel: (
    <div style={{ width: 280 }} className="lk-panel">
      <Head
        tools={{ cloud, say: nothing } as unknown as Tools}
        notice={{ kind: 'warning', text: 'The key expires.' }}
      />
      <RunList {...listed} runs={rows(8)} />
    </div>
  ),
  'panel-signed-out': (
    <div style={{ width: 280 }} className="lk-panel">
      <Head
        tools={{ cloud: { ...cloud, signedIn: false, data: {} }, say: nothing } as unknown as Tools}
        notice={{ kind: 'info', text: '' }}
      />
    </div>
  ),
  'panel-empty': renderPanel({}),
  'panel-one': renderPanel({}, 1),
  'panel-many': renderPanel({}, 1000),
  'panel-unreachable': renderPanel({ trouble: new Trouble('unreachable', 'No answer from api.example.org.') }),
  'panel-rented': (
    <div style={{ width: 280 }} className="lk-panel">
      <Rows label="VMs" none="" rows={rented} onMenu={nothing} />
    </div>
  ),
  picker: <MachinePicker {...picker} />,
  'picker-none': <MachinePicker {...picker} rows={[]} total="0 of 7 machines." problem="No machine has 512 GiB." />,
  'picker-narrow': (
    <div style={{ width: 280 }}>
      <MachinePicker {...picker} />
    </div>
  ),
  leaderboard: <FinishedLeaderboard />,
  'leaderboard-narrow': (
    <div style={{ maxWidth: 720 }}>
      <FinishedLeaderboard />
    </div>
  ),
  active: <ActiveNow active={active} onOpenPanel={nothing} />,
  'active-none': <ActiveNow active={[]} onOpenPanel={nothing} />,
  'run-view': <RunViews />,
  metrics: <MetricsPlot frames={one} empty="" onWindow={nothing} />,
  'metrics-compared': <MetricsPlot frames={three} empty="" onWindow={nothing} />,
  'metrics-empty': <MetricsPlot frames={[]} empty="No samples yet." onWindow={nothing} />,
  storage: <StorageBrowser {...browser} />,
  'storage-empty': <StorageBrowser {...browser} folders={{ '': listing() }} seen={{}} />,
  'storage-uploads': <Uploads />,
  'storage-previews': (
    <>
      {previews.map((each, at) => (
        <Preview key={at} file={each.seen} loaded={each.loaded} isBusy={!at} onLoad={nothing} />
      ))}
    </>
  ),
  runs: <RunsTable {...table} />,
  chat: <Chat {...chat} answering />,
  'chat-empty': <Chat {...chat} turns={[]} spent="" answering={false} />
};

/** Elements outside widgets and panels. */
const PLACES: Record<string, string> = { active: 'lk-active-popup', 'active-none': 'lk-active-popup' };

function Gallery() {
  return (
    <>
      {Object.entries(SCENES).map(([name, scene]) => (
        <section key={name} id={name} className={PLACES[name] ?? 'lk'} aria-label={name}>
          {scene}
        </section>
      ))}
    </>
  );
}

/** Active runs, each in a header that updates as in a notebook. */
function Going({ run }: { run: RunRow }) {
  const place = useRef<HTMLDivElement>(null);
  useSight(place, true);
  const saved = savedRun({ ...A100, execution_id: run.id, state: 'running', seconds: 1 })!;
  const times = { now: Date.now(), second: thisSecond(), isLive: false, since: 0, silent: null };
  return (
    <div ref={place}>
      <RunHeader
        {...{ header: buildHeader(saved, run, times) }}
        {...{ onStop: nothing, onRerun: nothing, onOpen: nothing, onMenu: nothing }}
      />
    </div>
  );
}

/** Data of a leaderboard whose runs have printed this number of points each. */
function boardData(count: number, points: number) {
  const steps = Array.from({ length: points }, (_, at) => at + 1);
  return savedBoard({
    head: `${count} runs`,
    notes: [],
    board: { swept: ['lr'], score: { name: 'loss', highest: false }, names: ['loss'] },
    runs: Array.from({ length: count }, (_, at) => ({
      ...{ ...A100, execution_id: makeId(at), state: 'running', seconds: points, cost: '0.01', cost_is: 'estimated' },
      ...{ number: at + 1, values: { lr: `0.${at}` }, score: 1 / (points + at), marks: [], share: 0.5, notes: [] },
      curves: [{ name: 'loss', steps, values: steps.map(step => (at + 1) / step + 0.01 * Math.sin(step)) }]
    }))
  })!;
}

/** A leaderboard whose runs print a number each second. */
function LiveLeaderboard({ count }: { count: number }) {
  const [points, setPoints] = useState(() => {
    performance.mark('start');
    return 1000;
  });
  useEffect(() => {
    const clock = window.setInterval(() => setPoints(points => points + 1), 1000);
    return () => window.clearInterval(clock);
  }, []);
  const board = useMemo(() => boardData(count, points), [points]);
  const times = { now: 0, second: 0, isLive: true, since: 0, silent: null };
  const headers = board.members.map(({ saved }) => buildHeader(saved, undefined, times));
  return <Leaderboard board={board} headers={headers} actions={BOARD_ACTIONS} />;
}

/** Many copies of a component, for `benchmarks/gallery.py`: the address contains the number. */
const MANY: Record<string, (count: number) => ReactElement> = {
  '#runs': count => (
    <div style={{ display: 'flex', height: 600, width: 280 }} className="lk lk-panel">
      <RunList {...listed} runs={rows(count)} />
    </div>
  ),
  '#board': count => <LiveLeaderboard count={count} />,
  '#headers': count => (
    <>
      {rows(6 * count)
        .filter(run => run.state === 'running')
        .map(run => (
          <Going key={run.id} run={{ ...run, created: thisSecond() - 60, submittedAt: thisSecond() - 60 }} />
        ))}
    </>
  )
};
const [what, count] = location.hash.split('=');

createRoot(document.querySelector('main')!).render(MANY[what]?.(Number(count)) ?? <Gallery />);
