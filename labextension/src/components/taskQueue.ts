/** A queue of tasks, which gives the page time to respond between tasks. */
type Work = () => void;

const waiting: Work[] = [];
const bell = new MessageChannel();

bell.port1.onmessage = () => {
  waiting.shift()?.();
  if (waiting.length) {
    bell.port2.postMessage(null);
  }
};

/** Run a task after the earlier tasks; return a function that cancels the task. */
export function enqueueTask(work: Work): () => void {
  if (waiting.push(work) === 1) {
    bell.port2.postMessage(null);
  }
  return () => {
    const at = waiting.indexOf(work);
    if (at >= 0) {
      waiting.splice(at, 1);
    }
  };
}
