/** The clock of the Jupyter server. Widgets use this module without Lab, so it sends no requests. */

/** Seconds by which the server's clock is ahead of the browser's clock, as far as the answers prove. */
let ahead = 0;

/** Return the time of the server's clock in Unix seconds. The journal uses the same clock. */
export function serverNow(): number {
  return Date.now() / 1000 + ahead;
}

/** Return the last full second of the server's clock. Costs change at these moments, here and in the kernel. */
export const thisSecond = () => Math.floor(serverNow());

/** Functions to call at each full second, all together, so that the page is drawn once. */
const eachCall = new Set<() => void>();
let clock = 0;

/** Call a function at each full second of the server's clock while the page is visible, until the result is called. */
export function eachSecond(call: () => void): () => void {
  const reading = () => call();
  eachCall.add(reading);
  if (eachCall.size === 1) {
    plan();
    document.addEventListener('visibilitychange', callAll);
  }
  return () => {
    if (eachCall.delete(reading) && !eachCall.size) {
      window.clearTimeout(clock);
      document.removeEventListener('visibilitychange', callAll);
    }
  };
}

function plan(): void {
  clock = window.setTimeout(
    () => {
      plan();
      callAll();
    },
    1000 * (1 - (serverNow() % 1))
  );
}

function callAll(): void {
  if (!document.hidden) {
    eachCall.forEach(call => call());
  }
}

/** Compare the clocks by the date of an answer: a second between the request and now. */
export function compareClocks(headers: Headers, requestedAt: number): void {
  const stamp = Date.parse(headers.get('date') ?? '') / 1000;
  if (Number.isFinite(stamp)) {
    ahead = Math.min(Math.max(ahead, stamp - Date.now() / 1000), stamp + 1 - requestedAt);
  }
}
