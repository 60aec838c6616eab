/** Work that is done piece by piece, so that the page can answer between two of them. */
type Work = () => void;

const waiting: Work[] = [];
const bell = new MessageChannel();

bell.port1.onmessage = () => {
  waiting.shift()?.();
  if (waiting.length) {
    bell.port2.postMessage(null);
  }
};

/** Do this as soon as what came before is done; returns what calls it off. */
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
