/** Pictures of 16 pixels in the colour of the text around them, the same in Lab and in widgets. */
import React from 'react';

const SHAPES = {
  running: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 1.5v9a4.5 4.5 0 0 1 0-9z',
  waiting:
    'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 1.4a4.6 4.6 0 1 1 0 9.2 4.6 4.6 0 0 1 0-9.2zM7.3 5v3.5l2.5 1.7.7-1.1-1.9-1.3V5z',
  done: 'M6.4 12 2.7 8.3l1.2-1.2 2.5 2.5 5.7-5.7 1.2 1.2z',
  failed: 'M4.1 3 8 6.9 11.9 3 13 4.1 9.1 8l3.9 3.9-1.1 1.1L8 9.1 4.1 13 3 11.9 6.9 8 3 4.1z',
  stopped: 'M4 4h8v8H4z',
  rerun: 'M8 3.2V.6l3.9 3.5L8 7.6V4.8a3.6 3.6 0 1 0 3.6 3.6h1.6A5.2 5.2 0 1 1 8 3.2z',
  goTo: 'M8.6 2.5h4.9v4.9l-1.7-1.7-4.1 4.1-1.5-1.5 4.1-4.1zM3 4h3.6v1.4H4.4v6.2h6.2V9.4H12V13H3z',
  open: 'M2.5 3h11v10h-11zm1.4 3v5.6h8.2V6z',
  star: 'M8 1.6l2 4 4.4.7-3.2 3.1.8 4.4L8 11.7l-4 2.1.8-4.4L1.6 6.3 6 5.6z',
  funnel: 'M2 3h12L9.6 8.4V13l-3.2-1.6v-3z',
  folder: 'M1.5 3h4.8l1.5 1.7h6.7V13h-13z',
  newFolder: 'M1.5 3h4.8l1.5 1.7h6.7V13h-13zm5.9 3.5v1.7H5.7v1.2h1.7v1.7h1.2V9.4h1.7V8.2H8.6V6.5z',
  upload: 'M8 2l4 4.2-.9.9-2.4-2.5V11H7.3V4.6L4.9 7.1 4 6.2zM3 12.4h10v1.3H3z',
  file: 'M3.5 1.5h5.7l3.3 3.3v9.7h-9zm1.4 1.4v10.2h6.2V5.7H8.4V2.9z',
  up: 'm8 5 4.5 5h-9z',
  down: 'm8 11 4.5-5h-9z',
  remove: 'M6 1.8h4v1.1h3.2v1.3H2.8V2.9H6zM3.8 5.2h8.4l-.6 9H4.4zm2.4 1.5.3 6h1l-.2-6zm2.5 0-.2 6h1l.3-6z',
  code: 'M1.5 2.5h13v11h-13zm1.3 1.3v8.4h10.4V3.8zM4 5.5l.9-.9L8.2 8l-3.3 3.4-.9-.9L6.4 8zM8 10h4v1.3H8z',
  copy: 'M5 2h8.5v9H11v3H2.5V5H5zm1.4 1.4V5H11v4.6h1.1V3.4zM3.9 6.4v6.2h5.7V6.4z',
  left: 'm5 8 5-4.5v9z',
  right: 'm11 8-5-4.5v9z',
  more: 'M7.3 3h1.4v4.3H13v1.4H8.7V13H7.3V8.7H3V7.3h4.3z',
  less: 'M3 7.3h10v1.4H3z',
  whole: 'M2 3h1.4v10H2zm10.6 0H14v10h-1.4zM4 8l3-2.8v2h2v-2L12 8l-3 2.8v-2H7v2z'
};
export type IconName = keyof typeof SHAPES;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className={`lk-icon lk-icon-${name}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={SHAPES[name]} fill="currentColor" fillRule="evenodd" />
    </svg>
  );
}

/** A button that is a picture; its name is its tooltip too. */
export function IconButton({
  icon,
  name,
  ...rest
}: { icon: IconName; name: string } & React.ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" className="lk-icon-button" aria-label={name} title={name} {...rest}>
      <Icon name={icon} />
    </button>
  );
}
