/** The clock of the Jupyter server, and what is drawn by it. Widgets use it without Lab, so it asks for nothing. */

/** Seconds by which the clock of the Jupyter server is ahead of the browser's, no more than its answers prove. */
let ahead = 0;

/** This moment in Unix seconds by the clock of the Jupyter server, which the journal was written by. */
export function serverNow(): number {
  return Date.now() / 1000 + ahead;
}

/** The last whole second of that clock: what shows a cost counts at these moments, here and in the kernel. */
export const thisSecond = () => Math.floor(serverNow());

/** What is called at each whole second of that clock, all at once, so that the page is drawn once for all. */
const eachCall = new Set<() => void>();
let clock = 0;

/** Call a function at each whole second of that clock while the page is seen, until the answer is called. */
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

/** The answer names the second in which it was made, which lies between the request and now. */
export function compareClocks(headers: Headers, requestedAt: number): void {
  const stamp = Date.parse(headers.get('date') ?? '') / 1000;
  if (Number.isFinite(stamp)) {
    ahead = Math.min(Math.max(ahead, stamp - Date.now() / 1000), stamp + 1 - requestedAt);
  }
}
