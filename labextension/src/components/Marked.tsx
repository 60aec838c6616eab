import React, { ReactNode, useMemo } from 'react';

const TAGS = new Set(
  'a blockquote br code del div em hr li ol p pre s span strong table tbody td th thead tr ul'.split(' ')
);
const HEADING = /^h[1-6]$/;
const WEB = /^https?:\/\//i;

/** Markdown as the kernel made HTML of it, drawn with the elements that a text needs; anything else stays text. */
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
  const address = tag === 'a' ? (node as Element).getAttribute('href') : null;
  const link = address && WEB.test(address) ? { href: address, target: '_blank', rel: 'noopener noreferrer' } : {};
  return React.createElement(tag, { key, ...link }, ...drawnAll(node));
}
