/** Figures as people read them. */

/** Seconds as `12 s`, `2:03` or `1:02:03`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (part: number) => String(part).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Credits with as many digits as tell something. */
export function credits(amount: number): string {
  if (amount > 0 && amount < 0.0001) {
    return '< 0.0001';
  }
  return amount.toFixed(Math.abs(amount) < 1 ? 4 : 2);
}

/** Bytes as `3.2 MB`. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const at = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${(count / 1000 ** at).toFixed(at ? 1 : 0)} ${units[at]}`;
}

/** A machine's profile as its card is called: `gpu.a100` is A100. */
export function machineName(profile: string): string {
  return profile.startsWith('gpu.') ? profile.slice(4).toUpperCase() : profile;
}

/** When something was, in Unix seconds: the time of a day that has not ended, the date before. */
export function when(at: number, now: number): string {
  const [then, today] = [new Date(at * 1000), new Date(now * 1000)];
  return then.toDateString() === today.toDateString()
    ? then.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    : then.toLocaleDateString([], { month: 'short', day: 'numeric' });
}

/** A moment of the API in Unix seconds; one without a zone is UTC. */
export function moment(text: string | null | undefined): number | null {
  return text ? Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`) / 1000 : null;
}
