import React, { ReactNode, useMemo, useState } from 'react';

import { trans } from '../trans';
import { IconButton } from './Icon';

const TAGS = new Set(
  'a blockquote br code del div em hr li ol p pre s span strong table tbody td th thead tr ul'.split(' ')
);
const HEADING = /^h[1-6]$/;
const WEB = /^https?:\/\//i;

/**
 * Markdown that the kernel converted to HTML, drawn with the elements that texts need. All other elements stay text.
 */
export function Marked({ html }: { html: string }) {
  const nodes = useMemo(() => drawnAll(new DOMParser().parseFromString(html, 'text/html').body), [html]);
  return <div className="lk-marked">{nodes}</div>;
}

function drawnAll(parent: Node): ReactNode[] {
  return [...parent.childNodes].map(drawn);
}

function drawn(node: Node, key: number): ReactNode {
  const tag = node.nodeName.toLowerCase();
  if (HEADING.test(tag)) {
    return (
      <p key={key}>
        <strong>{drawnAll(node)}</strong>
      </p>
    );
  }
  if (!TAGS.has(tag)) {
    return node.textContent;
  }
  if (tag === 'pre') {
    return <Code key={key} text={node.textContent!} />;
  }
  const address = tag === 'a' ? (node as Element).getAttribute('href') : null;
  const link = address && WEB.test(address) ? { href: address, target: '_blank', rel: 'noopener noreferrer' } : {};
  return React.createElement(tag, { key, ...link }, ...drawnAll(node));
}

/** Code with a copy button. */
function Code({ text }: { text: string }) {
  const [status, setStatus] = useState('');
  const copy = async () => {
    setStatus(
      await navigator.clipboard.writeText(text).then(
        () => trans.__('Copied'),
        () => trans.__('The browser blocked copying. Select the code.')
      )
    );
  };
  return (
    <div className="lk-code">
      <span className="lk-quiet" role="status">
        {status}
      </span>
      <IconButton
        icon="copy"
        name={trans.__('Copy the code: %1', text.trim().split('\n')[0])}
        onBlur={() => setStatus('')}
        onClick={() => void copy()}
      />
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </div>
  );
}
