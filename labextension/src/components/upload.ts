/** Bytes in one message to the kernel. Jupyter accepts at most 10 MB. */
export const PIECE = 2_000_000;

export type Ask = <R = unknown>(action: string, args?: object, buffers?: ArrayBuffer[]) => Promise<R>;

/** Options of an upload: the action on a conflict, a callback for the share done, and a signal to stop. */
export interface How {
  conflict: 'ask' | 'overwrite' | 'keep-both';
  report: (share: number) => void;
  signal: AbortSignal;
}

/** Upload a file to the bucket piece by piece. If the upload is stopped or reading fails, nothing is stored. */
export async function upload(file: Blob, key: string, ask: Ask, how: How): Promise<'stored' | 'taken' | 'stopped'> {
  const started = await ask<{ id?: string }>('begin_upload', {
    key,
    size: file.size,
    replace: how.conflict === 'overwrite',
    keep_both: how.conflict === 'keep-both'
  });
  if (!started.id) {
    return 'taken';
  }
  const target = { upload_id: started.id };
  try {
    for (let start = 0; start < file.size && !how.signal.aborted; start += PIECE) {
      const piece = await file.slice(start, start + PIECE).arrayBuffer();
      await ask('add_piece', target, [piece]);
      how.report(Math.min(1, (start + PIECE) / file.size));
    }
  } catch (problem) {
    await ask('stop_upload', target);
    throw problem;
  }
  await ask(how.signal.aborted ? 'stop_upload' : 'end_upload', target);
  return how.signal.aborted ? 'stopped' : 'stored';
}
