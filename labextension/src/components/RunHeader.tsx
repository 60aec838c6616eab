import {
  checkIcon,
  circleEmptyIcon,
  closeIcon,
  ellipsesIcon,
  LabIcon,
  launchIcon,
  offlineBoltIcon,
  refreshIcon,
  runIcon,
  stopIcon
} from '@jupyterlab/ui-components';
import React, { ReactNode, RefObject, useEffect, useMemo, useReducer, useRef, useState } from 'react';

import { costWords } from '../bill';
import { duration, machineName } from '../format';
import { clock, Header, Tone } from '../header';
import { eachSecond } from '../serverClock';
import { trans } from '../trans';
import { Curve, curvePath, lastValue, valueLabel } from './scalars';
import { Icon } from './Icon';

const SIGNS: Record<Tone, LabIcon> = {
  waiting: circleEmptyIcon,
  running: runIcon,
  done: checkIcon,
  failed: closeIcon,
  stopped: stopIcon,
  unsure: offlineBoltIcon
};

/** Sparklines in a header. */
const MOST_CURVES = 2;

/** Fraction of the time limit after which the header warns. */
const SHORT = 0.8;

interface Chip {
  label: string;
  title: string;
}

/** Callbacks of the actions. Each callback adds a button. */
export interface RunHeaderProps {
  header: Header;
  /** Where the run runs, in a few words. Only the first header of a notebook shows this chip. */
  chip?: Chip | null;
  /** Whether the user already aborted the run here. */
  isStopping?: boolean;
  onStop?: () => void;
  /** What the stop button does. Default: abort the run. */
  stopLabel?: string;
  onDetach?: () => void;
  onFollow?: () => void;
  onRerun?: () => void;
  onGoToCell?: () => void;
  onOpen?: () => void;
  onMenu?: (place: HTMLElement) => void;
}

/** A run in a line: state, machine, duration, cost and actions. */
export function RunHeader({ header, chip, isStopping, ...on }: RunHeaderProps) {
  const { id, tone, label, ended, isSilent, bill, limit, waited, details, notes, curves } = header;
  const { react: Sign } = SIGNS[tone];
  const sign = useMemo(() => <Sign tag="span" />, [Sign]); // drawn once, not each second
  const machine = machineName(header.machine);
  const share = tone === 'running' && limit && bill.seconds !== null ? Math.min(1, bill.seconds / limit) : null;
  const name = [header.name, machine, id?.slice(0, 8)].filter(Boolean).join(' ');
  const place = useRef<HTMLElement>(null);
  return (
    <section ref={place} className={`lk-run-header lk-${tone}`} aria-label={trans.__('Run %1', name)}>
      <div className="lk-run-header-line" title={id ? trans.__('Run %1', id) : ''}>
        <span className="lk-run-header-sign" aria-hidden="true">
          {sign}
        </span>
        <strong role={isSilent ? undefined : 'status'}>{label}</strong>
        {isSilent && (
          <span role="status" className="lk-unseen">
            {trans.__('No answer')}
          </span>
        )}
        <span className="lk-run-header-facts">
          {[header.name, machine + rate(header), ...details].filter(Boolean).join(' · ')}
        </span>
        <LocalChip chip={chip} place={place} />
        {curves.length > 0 && <HeaderCurves curves={curves} />}
        <span className="lk-run-header-end">
          <span className="lk-run-header-figures">
            <span>{time(header)}</span>
            <span>{waited !== null ? trans.__('not billed yet') : costWords(bill)}</span>
          </span>
          <span className="lk-run-header-actions">
            {on.onDetach && !ended && (
              <button type="button" className="lk-run-header-word" onClick={on.onDetach}>
                {trans.__('Detach (keep running)')}
              </button>
            )}
            {on.onFollow && !ended && (
              <button type="button" className="lk-run-header-word" onClick={on.onFollow}>
                {trans.__('Follow the log')}
              </button>
            )}
            {on.onStop && id && !ended && (
              <Action
                icon={stopIcon}
                label={on.stopLabel ?? trans.__('Abort the run')}
                disabled={isStopping}
                onClick={on.onStop}
              />
            )}
            {on.onRerun && ended && <Action icon={refreshIcon} label={trans.__('Rerun')} onClick={on.onRerun} />}
            {on.onGoToCell && <Action icon={launchIcon} label={trans.__('Go to its cell')} onClick={on.onGoToCell} />}
            {on.onOpen && id && <Action icon={launchIcon} label={trans.__('Open the run')} onClick={on.onOpen} />}
            {on.onMenu && id && (
              <Action icon={ellipsesIcon} label={trans.__('More actions')} isMenu onClick={on.onMenu} />
            )}
          </span>
        </span>
      </div>
      <div className="lk-run-header-limit" aria-hidden="true">
        {share !== null && (
          <div className={share > SHORT ? 'lk-short' : ''} style={{ transform: `scaleX(${share})` }} />
        )}
      </div>
      {notes.map((note, at) => (
        <Note key={at} text={note} />
      ))}
    </section>
  );
}

/** A line below a header. A warning has an icon and a border. */
function Note({ text }: { text: string }) {
  const isWarning = text.startsWith('⚠');
  return (
    <div className={isWarning ? 'lk-run-header-note lk-run-header-warning' : 'lk-run-header-note'}>
      {isWarning && <Icon name="warning" />}
      <span>{linked(isWarning ? text.slice(1).trimStart() : text)}</span>
    </div>
  );
}

/** The first printed numbers as sparklines with their last values. */
function HeaderCurves({ curves }: { curves: Curve[] }) {
  return (
    <span className="lk-run-header-curves">
      {curves.slice(0, MOST_CURVES).map(curve => (
        <span key={curve.name}>
          {curve.name}
          <svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
            <path d={curvePath(curve)} />
          </svg>
          {valueLabel(lastValue(curve) ?? NaN)}
        </span>
      ))}
    </span>
  );
}

/** Note of the local cloud on each run without a GPU. */
const NO_GPU = /^No GPU on this machine/;

/** Remove the note about the missing GPU from the runs of the local cloud, and return the note as a chip. */
export function localChip(header: { notes: string[] }): Chip {
  const noGpu = header.notes.find(note => NO_GPU.test(note));
  header.notes = header.notes.filter(note => !NO_GPU.test(note));
  return { label: noGpu ? trans.__('Local cloud, no GPU') : trans.__('Local cloud'), title: noGpu ?? '' };
}

/** A chip in the first header of a notebook. Outside a notebook, each header is the first. */
function LocalChip({ chip, place }: { chip?: Chip | null; place: RefObject<HTMLElement> }) {
  const [isFirst, setFirst] = useState(false);
  useEffect(() => {
    const headers = '.lk-run-header, .lk-run-header-head';
    const node = place.current!;
    setFirst(node === (node.closest('.jp-Notebook')?.querySelector(headers) ?? node));
  });
  return chip && isFirst ? (
    <span className="lk-chip" title={chip.title}>
      {chip.label}
    </span>
  ) : null;
}

/** The line above the headers of runs that were started together. */
export function SeveralHead({ words, chip }: { words: string; chip?: Chip | null }) {
  const place = useRef<HTMLDivElement>(null);
  return (
    <div ref={place} className="lk-run-header-head">
      {words} <LocalChip chip={chip} place={place} />
    </div>
  );
}

/**
 * Return whether an element is in view. While the element is in view and `isLive` is true, redraw the caller each
 * second.
 */
export function useSight(place: RefObject<HTMLElement>, isLive: boolean): boolean {
  const [isVisible, see] = useState(false);
  const [, draw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const sight = new IntersectionObserver(entries => see(entries[entries.length - 1].isIntersecting));
    sight.observe(place.current!);
    return () => sight.disconnect();
  }, []);
  useEffect(() => (isVisible && isLive ? eachSecond(draw) : undefined), [isVisible, isLive]);
  return isVisible;
}

function rate({ pricePerHour, ended }: Header): string {
  return pricePerHour !== null && !ended ? ` · ${trans.__('%1 credits/h', pricePerHour)}` : '';
}

/** The clock and the limit of an active run, or the duration of an ended run. */
function time({ bill: { seconds }, ended, limit, waited }: Header): string {
  if (ended) {
    return seconds === null ? '' : duration(seconds);
  }
  if (seconds === null) {
    return waited === null ? '' : clock(waited);
  }
  return limit ? `${clock(seconds)} / ${clock(limit)}` : clock(seconds);
}

interface ActionProps {
  icon: LabIcon;
  label: string;
  isMenu?: boolean;
  disabled?: boolean;
  onClick: (place: HTMLElement) => void;
}

function Action({ icon: { react: Icon }, label, isMenu, disabled, onClick }: ActionProps) {
  const icon = useMemo(() => <Icon tag="span" />, [Icon]);
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      disabled={disabled}
      aria-haspopup={isMenu ? 'menu' : undefined}
      onClick={event => onClick(event.currentTarget)}
    >
      {icon}
    </button>
  );
}

/** The number of omitted log lines. A click shows the lines. */
export function HiddenLines({ count, onOpen }: { count: number; onOpen: () => void }) {
  const lines = trans._n('%1 line hidden', '%1 lines hidden', count).replace(String(count), count.toLocaleString('en'));
  return (
    <button type="button" className="lk-hidden-lines" onClick={onOpen}>
      <Icon name="right" />
      {lines} · {trans.__('Open log')}
    </button>
  );
}

const ADDRESS = /(https?:\/\/[^\s<>&]+(?<![.,;:)]))/;

/** Text with clickable web addresses. */
function linked(text: string): ReactNode[] {
  return text.split(ADDRESS).map((part, at) =>
    at % 2 ? (
      <a key={at} href={part} target="_blank" rel="noopener noreferrer">
        {part}
      </a>
    ) : (
      part
    )
  );
}
