/** Outputs of a run, drawn by Lab's rules for notebooks without trust. */
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { PartialJSONObject } from '@lumino/coreutils';
import { Widget } from '@lumino/widgets';
import React, { useLayoutEffect, useRef } from 'react';

import { Output } from '../outputs';
import { trans } from '../trans';

export interface OutputsProps {
  rendermime: IRenderMimeRegistry;
  displays: readonly Output[];
  omitted: number;
}

export function Outputs({ rendermime, displays, omitted }: OutputsProps) {
  if (!displays.length) {
    return null;
  }
  return (
    <section aria-label={trans.__('Outputs')} className="lk-outputs">
      {omitted > 0 && <p className="lk-quiet">{trans._n('%1 output before', '%1 outputs before', omitted)}</p>}
      {displays.map(output => (
        <Drawn key={output.key} rendermime={rendermime} output={output} />
      ))}
    </section>
  );
}

function Drawn({ rendermime, output }: { rendermime: IRenderMimeRegistry; output: Output }) {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const data = output.data as PartialJSONObject;
    const type = rendermime.preferredMimeType(data, 'ensure'); // data without a safe form isn't drawn
    if (!type) {
      return;
    }
    const renderer = rendermime.createRenderer(type);
    const model = rendermime.createModel({ data, metadata: output.metadata as PartialJSONObject, trusted: false });
    Widget.attach(renderer, place.current!);
    void renderer.renderModel(model).then(() => {
      const text = data['text/plain'];
      const words = typeof text === 'string' ? text : trans.__('Figure');
      renderer.node.querySelectorAll('img:not([alt])').forEach(image => image.setAttribute('alt', words));
    });
    return () => renderer.dispose(); // dispose before the element is removed
  }, [output]);
  return <div ref={place} />;
}
