/** Icons that Lab lacks, and Lab's icons for the signs in texts. */
import { checkIcon, circleEmptyIcon, closeIcon, LabIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';

const makeIcon = (name: string, path: string) =>
  new LabIcon({
    name: `lk-jupyter:${name}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16"><path class="jp-icon3" fill="#616161" fill-rule="evenodd" d="${path}"/></svg>`
  });

const CLOUD =
  'M6.5 19a4.5 4.5 0 0 1-.6-8.96A6.5 6.5 0 0 1 18.4 9.1 5 5 0 0 1 18 19zM12.8 9.2 9 14.2h2.6L11 17.6l4-5.2h-2.7z';

export const cloudIcon = makeIcon('cloud', CLOUD);

/** The cloud icon in colour, for the launcher. */
export const cloudTile = new LabIcon({
  name: 'lk-jupyter:cloud-tile',
  svgstr: cloudIcon.svgstr.replace('class="jp-icon3" fill="#616161"', 'fill="#0f7fd6"')
});

export const warningIcon = makeIcon('warning', 'M12 2.5 23 21.5H1zM11 9v6h2V9zm0 7.5v2h2v-2z');
export const starIcon = makeIcon('star', 'm12 2.4 3 6 6.6 1-4.8 4.7 1.2 6.6-6-3.1-6 3.1 1.2-6.6-4.8-4.7 6.6-1z');
export const minusIcon = makeIcon('minus', 'M5 11h14v2H5z');
export const entireIcon = makeIcon(
  'entire',
  'M3 4.5h2v15H3zm16 0h2v15h-2zM6 12l4.5-4.2v3h3v-3L18 12l-4.5 4.2v-3h-3v3z'
);

/** Sign in a text → Lab's icon. */
export const SIGNS: Record<string, LabIcon> = {
  '☁': cloudIcon,
  '⚠': warningIcon,
  '●': runIcon,
  '▶': runIcon,
  '◌': circleEmptyIcon,
  '…': circleEmptyIcon,
  '✓': checkIcon,
  '✗': closeIcon,
  '■': stopIcon
};

const SIGN = new RegExp(`([${Object.keys(SIGNS).join('')}])`, 'u');

/** Return a text with Lab's icons in place of signs. */
export function drawn(words: string): (string | HTMLElement)[] {
  const parts = words.split(SIGN).filter(Boolean);
  return parts.map(part => SIGNS[part]?.element({ tag: 'span' }) ?? part);
}
