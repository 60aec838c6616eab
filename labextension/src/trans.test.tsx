import { act, cleanup, fireEvent, render, screen } from '@testing-library/preact';
import React, { ReactElement } from 'react';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';

import { Bill, CostIs } from './bill';
import { ActiveNow } from './components/ActiveNow';
import { Balance } from './components/Balance';
import { Chat } from './components/Chat';
import { Curves } from './components/Curves';
import { BY_NAME, Folders, buildTree } from './components/folders';
import { Grid } from './components/Grid';
import { IconButton } from './components/Icon';
import { Leaderboard } from './components/Leaderboard';
import { Log } from './components/Log';
import { Login } from './components/Login';
import { LogLines } from './components/logLines';
import { MachinePicker } from './components/MachinePicker';
import { Marked } from './components/Marked';
import { MetricsPlot } from './components/MetricsPlot';
import { Notice } from './components/Notice';
import { NameForm, OfferForm } from './components/OfferForm';
import { Once } from './components/Once';
import { OptionsForm } from './components/OptionsForm';
import { Preview } from './components/Preview';
import { Question } from './components/Question';
import { Rows } from './components/Rows';
import { RunCard } from './components/RunCard';
import { RunDetails } from './components/RunDetails';
import { RunHeader } from './components/RunHeader';
import { RunList } from './components/RunList';
import { RunLog } from './components/RunLog';
import { RunsTable } from './components/RunsTable';
import { SLOT, Sentence } from './components/Sentence';
import { Silence } from './components/Silence';
import { SortHeading } from './components/SortHeading';
import { Sparklines } from './components/Sparklines';
import { StorageTree } from './components/StorageTree';
import { Zoom } from './components/Zoom';
import { savedBoard } from './board';
import { buildHeader, savedRun } from './header';
import { Observer } from './labMock';
import { MOST_OUTPUTS } from './outputs';
import { RunDocument } from './panels/RunDocument';
import { Head } from './panels/Head';
import { sectionSpecs } from './panels/sections';
import type { Tools } from './panels/tools';
import { Trouble } from './request';
import { Listener } from './stream';
import { COMMANDS } from './commands';
import { ENGLISH, speak, trans } from './trans';

/** Answers of the server's routes in these tests. */
const ANSWERS: Record<string, unknown> = vi.hoisted(() => ({}));

vi.mock('./request', async original => ({
  ...(await original<object>()),
  request: async (path: string) => ANSWERS[path.split('?')[0]] ?? Promise.reject(new Error('DATA'))
}));
vi.mock('./stream', () => ({
  follow: (_: string, __: object, listener: Listener) => {
    for (let number = 0; number <= MOST_OUTPUTS; number++) {
      listener.onDisplay({ kind: 'display', data: {} });
    }
    return new Promise(() => undefined);
  }
}));
// Lab's own parts need more of a browser than these tests have, and plots do too: these are the names of their lines
vi.mock('@lumino/widgets', () => import('./labMock'));
vi.mock('uplot', () => ({
  default: class {
    width = 100;
    constructor({ series }: { series: { label?: string }[] }, _: unknown, box: HTMLElement) {
      box.append(...series.map(line => line.label ?? ''));
    }
    batch() {}
    destroy() {}
  }
}));
vi.stubGlobal('ResizeObserver', Observer);
vi.stubGlobal('matchMedia', () => new EventTarget());

/** A language that puts each message into brackets. */
const BRACKETS: typeof ENGLISH = {
  __: (text, ...values: unknown[]) => `⟦${ENGLISH.__(text, ...values)}⟧`,
  _n: (one, many, count, ...values: unknown[]) => `⟦${ENGLISH._n(one, many, count, ...values)}⟧`
};

beforeAll(() => speak(BRACKETS));
afterEach(cleanup);
afterAll(() => speak(ENGLISH));

const READ = ['aria-label', 'title', 'placeholder', 'alt'];
/** Texts that users type in the same form in every language. */
const EXAMPLES = new Set(['a100', 'lk_…']);
const FIGURE = /\d[\d.,:/]*(\s(AM|PM|B|kB|GB|s|min|h)\b)?/g;

/** Return words on the page that are neither part of a message nor DATA; a message may span several nodes. */
function untranslated(): string[] {
  const nodes = document.createNodeIterator(document.body, NodeFilter.SHOW_TEXT);
  const texts: string[] = [];
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    texts.push(node.nodeValue!);
  }
  const named = READ.flatMap(name => [...document.querySelectorAll(`[${name}]`)].map(node => node.getAttribute(name)!));
  const visible = [texts.join('\n'), ...named.filter(text => !EXAMPLES.has(text))];
  return visible.flatMap(text => outside(text).split('\n')).filter(text => /[\p{L}⟦⟧]/u.test(text));
}

function outside(text: string): string {
  const rest = text.replace(/⟦[^⟦⟧]*⟧/g, '');
  return rest === text ? text.replace(/DATA/g, '').replace(FIGURE, '') : outside(rest);
}

const nothing = () => undefined;
const rendermime = { preferredMimeType: nothing };
const later = () => Promise.resolve();
const press = (words: RegExp) => screen.getAllByText(words).forEach(button => fireEvent.click(button));
/** Wait until answers have arrived and are drawn. */
const settle = () => act(() => new Promise(done => setTimeout(done, 50)));

const bars = (share: number): [string, string, number][] => [['DATA', 'DATA', share]];
const balance = {
  ...{ org: 'DATA', orgs: [['DATA', 'DATA']] as [string, string][], days: 2, left: 'DATA', running: 'DATA' },
  ...{
    per_hour: 'DATA',
    runs_out: '',
    complete: false,
    suspended: true,
    burning: [['DATA', 'DATA', 'DATA', 'DATA']],
    spent: 'DATA'
  },
  ...{ by_day: bars(1), by_kind: bars(1), by_hardware: bars(1), onSwitch: later }
};
const turn = (who: string) => ({ who, text: 'DATA', reasoning: 'DATA', facts: 'DATA' });
const chat = {
  ...{ model: 'DATA', models: [], turns: [turn('you'), turn('DATA')], spent: 'DATA' },
  ...{ onModel: nothing, onAsk: later, onStop: later, onClear: later }
};
const login = { server: 'DATA', onSignIn: later, onLocal: later, onSignOut: later };
const wish = { memory: '', price: '', available: false, text: '', limit: '', by: 'worst', descending: false };
const machine = {
  ...{ profile: 'DATA', gpu: 'DATA', memory_gib: 'DATA', gpus: 'DATA', vcpus: 'DATA', ram_gib: 'DATA' },
  ...{ price_per_hour: 'DATA', worst: 'DATA', allowed: 'DATA', free: 'DATA' }
};
const picker = {
  ...{ wish, rows: [machine], total: 'DATA', value: 'DATA', default: '', problem: '' },
  ...{ onWish: nothing, onChoose: nothing, onCheapest: later, onDefault: later }
};
const series = [
  { label: 'DATA', unit: 'DATA', panel: 'DATA' },
  { label: 'DATA1', unit: 'DATA', panel: 'DATA' }
];
const frames = [
  { run: 'DATA', host: 'DATA', step: 5, series, points: new DataView(new Float64Array([0, 9, 1, 2, NaN, NaN]).buffer) }
];
const field = {
  ...{ name: 'DATA', flag: 'DATA', kind: 'choice' as const, choices: ['', 'DATA'], placeholder: 'DATA' },
  ...{ suggestions: [], help: 'DATA', open: false }
};
const file = {
  ...{ key: 'DATA', size: 'DATA', written: 'DATA', words: 'DATA', text: 'DATA', image: null, mime: '', is_part: true },
  ...{ columns: [['DATA', 'DATA']] as [string, string][], rows: [['DATA']], kind: 'table' as const },
  ...{ remote: 'DATA', free: 'DATA' }
};
const files = { onFetch: nothing, onSave: nothing, onDelete: nothing };
const preview = { file, isBusy: false, onLoad: nothing, files };
const card = {
  ...{
    title: 'DATA',
    run: { state: 'DATA', name: 'DATA' },
    reason: 'DATA',
    local: true,
    ended: false,
    stopping: false
  },
  ...{ held: true, deaf: false, onStop: later, onDetach: later }
};
const bills: Record<CostIs, Bill> = {
  billed: { seconds: 9, cost: 1, costIs: 'billed' },
  estimated: { seconds: 9, cost: 1, costIs: 'estimated' },
  'at most': { seconds: 9, cost: 1, costIs: 'at most' }
};
const run = (id: string, isActive: boolean, costIs: CostIs = 'billed') => ({
  ...{
    id,
    name: 'DATA',
    line: 'DATA',
    reason: 'DATA',
    state: 'DATA',
    isActive,
    machine: 'DATA',
    pricePerHour: 1,
    created: 0,
    submittedAt: null
  },
  ...{ record: null, storedBill: bills[costIs], notebook: 'DATA', cellId: 'DATA', group: null, pool: '' }
});
const form = { title: 'DATA', verb: 'DATA', onStart: nothing, onCancel: nothing };
const offer = (free: boolean | null) => ({
  id: `DATA${free}`,
  label: 'DATA',
  per_hour: '1.59',
  free,
  seconds: 60,
  end: 'DATA'
});
const list = {
  ...{ now: 9, getCount: () => 5, onMenu: nothing, getBill: ({ storedBill }: { storedBill: Bill }) => storedBill },
  ...{ onOpen: nothing, onAbort: nothing, onRerun: nothing, onGoToCell: nothing }
};
const row = (id: string, ended: boolean) => ({
  ...{ id, ended, run: id, state: 'DATA', machine: 'DATA', started: 'DATA', took: 'DATA', cost: 'DATA' },
  ...{ name: 'DATA', words: 'DATA', sort: {} }
});
const compared = { titles: ['DATA', 'DATA'], facts: [['DATA', 'DATA', 'DATA']], curves: [[], []], code: [] };
const listing = (key: string, more = {}) => ({
  items: key ? [{ key, size: 'DATA', written: 'DATA' }] : [],
  ...{ token: '', begins: '', is_read: true, ...more }
});
const folders: Folders = {
  '': listing('DATA/', { token: 'DATA', begins: 'DATA' }),
  'DATA/': listing('DATA//'),
  'DATA//': listing('')
};
const tree = {
  order: BY_NAME,
  onOrder: nothing,
  current: '',
  previewed: '',
  onCurrent: nothing,
  onUse: nothing,
  onDelete: nothing
};

function makeLog(text: string): { log: LogLines; count: number } {
  const log = new LogLines();
  log.add(text);
  return { log, count: log.count };
}

const curve = { name: 'DATA', steps: [1, 2, 3], values: [3, 2, 1] };
const member = (number: number, state: string) => ({
  ...{ execution_id: `DATA${number}`, state, machine: 'DATA', number, values: { DATA: `DATA${number}` } },
  ...{ score: number, marks: [], curves: [curve], share: 0.5, notes: ['DATA'] }
});
const board = savedBoard({
  ...{ head: 'DATA', notes: [] },
  ...{ board: { swept: ['DATA'], score: { name: 'DATA', highest: true }, names: ['DATA', 'DATA2'] } },
  runs: [member(1, 'DATA'), member(2, 'DATA')]
})!;
const live = { now: 0, second: 0, isLive: true, since: 0, silent: null };
const actions = { onUse: nothing, onStop: nothing, onStopAll: nothing, onRerun: nothing, onOpen: nothing };

/** Each component in its states, and the actions that reveal all of its words. */
const VIEWS: Record<string, [() => ReactElement, (() => unknown)?]> = {
  ActiveNow: [
    () => (
      <>
        <ActiveNow active={[]} onOpenPanel={nothing} />
        <ActiveNow
          active={[
            { id: 'DATA', name: 'DATA', machine: 'DATA', perHour: null, time: '' },
            { id: 'DATA2', name: 'DATA', machine: 'DATA', perHour: 1, time: '0:05', onStop: nothing }
          ]}
          onOpenPanel={nothing}
        />
      </>
    )
  ],
  Balance: [
    () => (
      <>
        <Balance {...balance} left="" />
        <Balance {...balance} />
        <Balance {...balance} by_day={bars(0)} />
      </>
    )
  ],
  Chat: [
    () => (
      <>
        <Chat {...chat} answering />
        <Chat {...chat} answering={false} />
      </>
    )
  ],
  Curves: [
    () => (
      <>
        <Curves runs={[]} names={[]} open={1} empty="DATA" />
        <Curves runs={[{ run: 'DATA', ink: 0, curves: [curve] }]} names={['DATA']} open={1} />
      </>
    )
  ],
  Leaderboard: [
    () => (
      <Leaderboard
        board={board}
        headers={board.members.map(({ saved }) => buildHeader(saved, undefined, live))}
        actions={actions}
      />
    ),
    () => fireEvent.click(screen.getByRole('button', { name: /Stop all runs except/ }))
  ],
  Zoom: [
    () => (
      <Zoom fullSpan={[0, 1]} isEmpty={false}>
        {() => null}
      </Zoom>
    )
  ],
  Log: [
    () => (
      <>
        <Log {...makeLog('')} ended={false} />
        <Log {...makeLog('')} ended />
        <Log {...makeLog('DATA\n')} ended omitted={2} />
        <Log {...makeLog('DATA\n')} ended={false} />
        <Log {...makeLog('DATA'.repeat(2501))} ended />
      </>
    ),
    () => fireEvent.input(screen.getAllByRole('searchbox')[3], { target: { value: 'DATA' } })
  ],
  Grid: [() => <Grid label="DATA" columns={[['DATA', 'float']]} rows={[['1.23456789'], ['']]} />],
  Icon: [() => <IconButton icon="rerun" name="DATA" />],
  Login: [
    () => (
      <>
        <Login {...login} account="DATA" />
        <Login {...login} account="" onLocal={() => new Promise(nothing)} />
      </>
    ),
    () => press(/Use the free local cloud/)
  ],
  Marked: [() => <Marked html="<h1>DATA</h1><p>DATA</p><pre>DATA</pre>" />],
  MachinePicker: [
    () => (
      <>
        <MachinePicker {...picker} />
        <MachinePicker {...picker} where="everywhere" />
        <MachinePicker {...picker} rows={[]} default="DATA" />
        <MachinePicker {...picker} where="everywhere" default="DATA" problem="DATA" />
      </>
    )
  ],
  Sparklines: [
    () => {
      const [start_time, timestamp] = ['2026-11-30T12:00:00Z', '2026-11-30T12:00:15Z'];
      ANSWERS['api/execution/spark'] = { execution_id: 'spark', status: 'running', start_time };
      const points = [{ timestamp, value: 50 }];
      const metrics = { gpuUtilizationPercent: points, gpuMemoryUtilizationPercent: points };
      ANSWERS['api/execution/spark/metrics'] = metrics;
      return <Sparklines id="spark" isVisible={() => true} />;
    },
    settle
  ],
  MetricsPlot: [
    () => <MetricsPlot frames={frames} empty="DATA" onWindow={nothing} />,
    async () => {
      const details = document.querySelector('details')!;
      details.open = true;
      fireEvent(details, new Event('toggle'));
      await settle();
    }
  ],
  Notice: [() => <Notice notice={{ kind: 'warning', text: 'DATA' }} />],
  Once: [
    () => (
      <>
        <Once title="DATA" isOver onReveal={() => new Promise(nothing)} />
        <Once title="DATA" isOver={false} onReveal={() => new Promise(nothing)} />
        <Once
          title="DATA"
          isOver={false}
          onReveal={() => Promise.resolve({ rows: [['DATA', 'DATA']], image: 'x', advice: 'DATA' })}
        />
      </>
    ),
    async () => {
      vi.stubGlobal('navigator', { clipboard: { writeText: () => Promise.reject(new Error()) } });
      press(/Show once/);
      await settle();
      press(/Copy/);
      await settle();
    }
  ],
  OptionsForm: [
    () => (
      <>
        <OptionsForm fields={[field]} entries={{}} problems={{ DATA: 'DATA' }} line="DATA" onEntries={nothing} />
        <OptionsForm fields={[field]} entries={{}} problems={{}} line="" onEntries={nothing} />
      </>
    ),
    () => fireEvent.input(screen.getAllByRole('searchbox', { hidden: true })[1], { target: { value: 'DATA1' } })
  ],
  Preview: [
    () => (
      <>
        <Preview {...preview} loaded={{ key: 'DATA', words: 'DATA', code: 'DATA', offer: 2 }} />
        <Preview {...preview} file={{ ...file, kind: 'value' }} loaded={{}} />
      </>
    )
  ],
  Question: [() => <Question question={{ text: 'DATA', yes: 'DATA', onYes: nothing }} onEnd={nothing} />],
  Rows: [
    () => (
      <>
        <Rows label="DATA" none="DATA" rows={undefined} onMenu={nothing} />
        <Rows
          {...{ label: 'DATA', none: 'DATA', onMenu: nothing }}
          rows={[{ key: 'DATA', title: 'DATA', facts: ['DATA'], acts: [] }]}
        />
      </>
    )
  ],
  RunCard: [
    () => (
      <>
        <RunCard {...card} />
        <RunCard {...card} deaf />
      </>
    )
  ],
  RunHeader: [
    () => (
      <>
        {(['running', 'completed', 'reconnecting', 'submitting'] as const).map(state => (
          <RunHeader
            key={state}
            header={{
              ...buildHeader(
                savedRun({ execution_id: 'DATA', state, machine: 'DATA', price_per_hour: 1, seconds: 5, cost: '1' })!,
                undefined,
                { now: 0, second: 0, isLive: true, since: 0, silent: null }
              ),
              ...(state !== 'reconnecting' && { label: 'DATA' }) // a word of the server
            }}
            chip={{ label: 'DATA', title: 'DATA' }}
            onStop={nothing}
            onDetach={nothing}
            onGoToCell={nothing}
            onRerun={nothing}
            onOpen={nothing}
            onMenu={nothing}
          />
        ))}
      </>
    )
  ],
  RunDetails: [
    () => (
      <RunDetails {...card} total={0} live="DATA" frames={[]} empty="DATA" onAsk={() => new Promise<never>(nothing)} />
    )
  ],
  RunList: [
    () => (
      <>
        <RunList {...list} runs={[]} />
        <RunList
          {...list}
          runs={Array.from({ length: 60 }, (_, at) => run(`${at}`, !at, at ? 'estimated' : 'at most'))}
        />
        <RunList {...list} runs={Array.from({ length: 6 }, (_, at) => run(`${at}`, false))} />
      </>
    ),
    () => fireEvent.input(screen.getAllByRole('searchbox')[1], { target: { value: 'none' } })
  ],
  OfferForm: [
    () => (
      <>
        <OfferForm {...form} offers={[offer(null), offer(false)]} note="DATA" balance={0.5} />
        <OfferForm {...form} offers={[offer(true)]} note="DATA" balance={50} />
        <NameForm {...form} note="DATA" />
      </>
    )
  ],
  RunLog: [() => <RunLog total={0} live="DATA" ended load={() => new Promise(nothing)} />],
  RunsTable: [
    () => (
      <RunsTable
        rows={[row('DATA1', true), row('DATA2', false)]}
        note="DATA"
        onOpen={later}
        onAbort={() => Promise.resolve('')}
        onRerun={() => Promise.resolve('')}
        onCompare={() => Promise.resolve(compared as never)}
      />
    ),
    async () => {
      screen.getAllByRole('checkbox').forEach(box => fireEvent.click(box));
      press(/Compare/);
      await settle();
      screen.getAllByRole('button', { name: /Rerun/ }).forEach(button => fireEvent.click(button));
    }
  ],
  Sentence: [() => <Sentence text={trans.__('at %1', SLOT)}>DATA</Sentence>],
  Silence: [() => <Silence seconds={0} />],
  SortHeading: [
    () => (
      <table>
        <thead>
          <tr>
            <SortHeading
              column="DATA"
              name="DATA"
              title="DATA"
              sorting={{ column: 'DATA', down: true }}
              onSort={nothing}
            />
          </tr>
        </thead>
      </table>
    )
  ],
  StorageTree: [
    () => (
      <>
        <StorageTree {...tree} rows={buildTree(folders, '', '')} />
        <StorageTree {...tree} rows={buildTree({ '': listing('', { begins: 'DATA' }) }, '', '')} />
        <StorageTree {...tree} rows={buildTree({ '': listing('', { is_read: false }) }, '', '')} />
        <StorageTree {...tree} rows={buildTree({ '': listing('DATA') }, '', 'none')} />
      </>
    )
  ]
};

test.each(Object.keys(VIEWS))('all words of %s go through the translator', async name => {
  const [draw, reveal] = VIEWS[name];
  render(draw());
  expect(untranslated()).toEqual([]);
  await reveal?.();
  expect(untranslated()).toEqual([]);
});

test('no component is left out', () => {
  const files = Object.keys(import.meta.glob(['./components/*.tsx', '!./components/*.test.tsx']));
  expect(files.map(file => /(\w+)\.tsx$/.exec(file)![1]).sort()).toEqual(Object.keys(VIEWS).sort());
});

const rented = {
  deployments: [
    {
      ...{ deployment_id: 'DATA', hf_model_id: 'DATA', status: 'DATA', hardware_profile: 'DATA' },
      ...{ current_replicas: 1, min_replicas: 0, max_replicas: 2 }
    }
  ],
  vms: [{ vm_id: 'DATA', name: 'DATA', status: 'DATA', hardware_profile: 'DATA', gpu_count: 2, billed: 1 }]
};
const status = { state: 'signed-in', base_url: 'DATA', is_local: true, organization: { slug: 'DATA' } };
const lists = {
  trouble: null as Trouble | null,
  troubles: {},
  signedIn: true as boolean | null,
  data: { status, deployments: rented, vms: rented, history: { executions: [] }, balance: { remaining_credits: 1 } },
  changed: { connect: nothing, disconnect: nothing },
  want: () => ({ dispose: nothing }),
  refresh: later
};
const commands = { execute: later, hasCommand: (id: string) => id === COMMANDS.insert };
const key = { id: '1', key_name: 'DATA', key_prefix: 'DATA', is_active: false, last_used_at: null, expires_at: null };
const record = {
  ...{ execution_id: 'DATA', status: 'completed', run_name: 'DATA', python_code: 'DATA', stdout: 'DATA' },
  ...{ hardware_profile: 'DATA', start_time: '2026-01-01T10:00:00Z', end_time: '2026-01-01T10:00:30Z' },
  ...{ return_code: 1, errors: ['DATA'], billed: 1 }
};

/** Data that a panel of Lab draws. */
const drawn = (panel: object) => (panel as { render: () => ReactElement }).render();

/** Render the head and all sections of the panel. */
function renderPanel(cloud: object): ReactElement {
  const withRuns = { runs: { silentSince: null }, ...cloud };
  const tools = { cloud: withRuns, commands, say: nothing, isVisible: true, onMenu: nothing } as unknown as Tools;
  return (
    <>
      <Head tools={tools} notice={{ kind: 'info', text: '' }} />
      {sectionSpecs().map(({ id, title, Body, count, actions }) => (
        <section key={id}>
          {title}
          {count(tools.cloud)}
          {actions.map(action => action.name)}
          {tools.cloud.signedIn && <Body tools={tools} />}
        </section>
      ))}
    </>
  );
}

test('all words of the panel go through the translator', async () => {
  Object.assign(ANSWERS, {
    'api/orgs': [],
    'api/auth/api-keys/': [key, { ...key, id: '2', last_used_at: '2026-01-01', expires_at: '2026-01-01' }],
    machines: { ...picker, problem: '', cheapest: 'DATA' },
    'machines/default': { default: 'DATA', said: [] }
  });
  render(renderPanel(lists));
  await settle();
  const ends = screen.getAllByRole('button', { name: /^⟦(Stop|Delete|Revoke)/ });
  act(() => ends.forEach(button => fireEvent.click(button)));
  await settle();
  expect(untranslated()).toEqual([]);
  for (const words of [/Cheapest/, /Make DATA the default/]) {
    press(words);
    await settle();
    expect(untranslated()).toEqual([]);
  }
  expect(screen.getAllByRole('alertdialog')).toHaveLength(3);
});

test('all words of a panel that cannot show anything go through the translator', () => {
  const states = [
    { data: {}, signedIn: null },
    { data: {}, signedIn: false, trouble: new Trouble('revoked', 'DATA') },
    { data: { status: { ...status, is_local: false, organization: { is_key_scoped: true } } } }
  ];
  for (const state of states) {
    render(renderPanel({ ...lists, ...state }));
  }
  expect(untranslated()).toEqual([]);
});

test('all words of a run go through the translator', async () => {
  Object.assign(ANSWERS, { 'api/execution/DATA': record });
  render(drawn(new RunDocument('DATA', { ...lists, runs: {} } as never, commands as never, rendermime as never)));
  expect(untranslated()).toEqual([]);
  await settle();
  for (const part of [/Metrics/, /Result/]) {
    press(part);
    expect(untranslated()).toEqual(['Completed']);
    await settle();
    expect(untranslated()).toEqual(['Completed']); // a state of the cloud
  }
});
