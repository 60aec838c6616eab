/** Format numbers for people, same as in Python, with the same examples (tests/figures.json). */
import { trans } from './trans';

export { unturned } from './trans';

/** Format seconds: `7.4 s`, `3 min 05 s` or `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 60) {
    return `${seconds.toFixed(1)} s`;
  }
  const total = Math.round(seconds);
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (part: number) => String(part).padStart(2, '0');
  return h ? `${h} h ${two(m)} min` : `${m} min ${two(s)} s`;
}

/** Format a time limit without parts that are zero: `3 h`, `10 min` or `1 h 30 min`. */
export function limitLabel(seconds: number): string {
  const total = Math.round(seconds);
  const parts: [number, string][] = [
    [Math.floor(total / 3600), 'h'],
    [Math.floor(total / 60) % 60, 'min'],
    [total % 60, 's']
  ];
  const words = parts.filter(([count]) => count).map(([count, unit]) => `${count} ${unit}`);
  return words.join(' ') || '0 s';
}

/** Format credits with as many digits as matter. */
export function credits(amount: number): string {
  if (amount > 0 && amount < 0.0001) {
    return trans.__('under %1', '0.0001');
  }
  return amount.toFixed(Math.abs(amount) < 1 ? 4 : 2);
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Format bytes: `3.2 MB`. */
export function bytes(count: number): string {
  const last = UNITS.length - 1;
  let at = 0;
  for (; count >= 999.5 && at < last; at++) {
    count /= 1000;
  }
  return `${count.toFixed(at && count < 99.95 ? 1 : 0)} ${UNITS[at]}`;
}

/** Round a number in a text to five significant digits; return other text unchanged. */
export function significant(text: string): string {
  const value = Number(text);
  return text.trim() && Number.isFinite(value) ? String(Number(value.toPrecision(5))) : text;
}

/** Return the GPU name of a machine profile: `gpu.a100` is A100, `vm.a100` is A100 VM. */
export function machineName(profile: string): string {
  const [, kind, name] = /^(gpu|vm)\.(.+)$/.exec(profile) ?? [];
  return kind ? name.toUpperCase() + (kind === 'vm' ? ' VM' : '') : profile;
}

// created once: scrolling a list of runs formats hundreds of dates a second
const TIME = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });
const DATE = new Intl.DateTimeFormat([], { month: 'short', day: 'numeric' });
const DAY = new Intl.DateTimeFormat([], { weekday: 'short', month: 'short', day: 'numeric' });

/** Return a price per hour in words; empty without a price. */
export function priceLabel(price: number | null | undefined): string {
  return typeof price === 'number' ? trans.__('%1 credits/h', price) : '';
}

/** Format a time in Unix seconds: today the time, earlier the date. */
export function when(at: number, now: number): string {
  const [then, today] = [new Date(at * 1000), new Date(now * 1000)];
  return (then.toDateString() === today.toDateString() ? TIME : DATE).format(then);
}

/** Return the day of a time, as a heading. */
export function day(at: number, now: number): string {
  const [then, today, yesterday] = [at, now, now - 86_400].map(second => new Date(second * 1000).toDateString());
  if (then === today) {
    return trans.__('Today');
  }
  return then === yesterday ? trans.__('Yesterday') : DAY.format(at * 1000);
}

/** Format a moment in local time: date and time, or in the given form. */
export function momentLabel(
  moment: string | number,
  form: Intl.DateTimeFormatOptions = { dateStyle: 'medium', timeStyle: 'short' }
): string {
  return new Date(moment).toLocaleString(undefined, form);
}

/** Parse a time of the API into Unix seconds. Without a zone, the time is UTC. */
export function moment(text: string | null | undefined): number | null {
  return text ? Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`) / 1000 : null;
}
