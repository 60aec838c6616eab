import React, { useState } from 'react';

import { trans } from '../trans';

/** Content to show once: rows of label and value, an image, and advice. */
export interface OnceContent {
  rows: [string, string][];
  image: string | null;
  advice: string;
}

export interface OnceProps {
  title: string;
  /** Whether this or another view already showed the secret. */
  isOver: boolean;
  onReveal: () => Promise<OnceContent>;
}

/** Show a secret on a click and forget the secret on another. The page contains the secret, the notebook never does. */
export function Once({ title, isOver, onReveal }: OnceProps) {
  const [content, setContent] = useState<OnceContent | null>(null);
  if (content) {
    return (
      <section className="lk-once" aria-label={title}>
        <strong>{title}</strong>
        {content.image && <img src={content.image} alt={trans.__('QR code for an authenticator app')} />}
        <Rows rows={content.rows} />
        <p>{content.advice}</p>
        <div className="lk-row">
          <Copy text={content.rows.map(([, value]) => value).join('\n')} />
          <button type="button" onClick={() => setContent(null)}>
            {trans.__('Hide')}
          </button>
        </div>
      </section>
    );
  }
  return (
    <div className="lk-row">
      <strong>{title}</strong>
      {isOver ? (
        <span>{trans.__('Already shown once.')}</span>
      ) : (
        <button type="button" className="lk-main" onClick={() => void onReveal().then(setContent, () => undefined)}>
          {trans.__('Show once')}
        </button>
      )}
      <span className="lk-quiet">{trans.__("This content isn't saved in the notebook.")}</span>
    </div>
  );
}

function Rows({ rows }: { rows: [string, string][] }) {
  return (
    <dl>
      {rows.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>
            <code>{value}</code>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Copy({ text }: { text: string }) {
  const [status, setStatus] = useState('');
  const copy = () =>
    void navigator.clipboard.writeText(text).then(
      () => setStatus(trans.__('Copied')),
      () => setStatus(trans.__('The browser blocked copying. Select the text.'))
    );
  return (
    <>
      <button type="button" className="lk-main" onClick={copy}>
        {trans.__('Copy')}
      </button>
      <span role="status">{status}</span>
    </>
  );
}
