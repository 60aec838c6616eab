/** The sign of the cloud. */
import { LabIcon } from '@jupyterlab/ui-components';

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
<path class="jp-icon3" fill="#616161" d="M6.5 19a4.5 4.5 0 0 1-.6-8.96A6.5 6.5 0 0 1 18.4 9.1 5 5 0 0 1 18 19z
M12.8 9.2 9 14.2h2.6L11 17.6l4-5.2h-2.7z" fill-rule="evenodd"/></svg>`;

export const cloudIcon = new LabIcon({ name: 'lk-jupyter:cloud', svgstr: SVG });

/** The same in a color of its own, for the launcher. */
export const cloudTile = new LabIcon({
  name: 'lk-jupyter:cloud-tile',
  svgstr: SVG.replace('class="jp-icon3" fill="#616161"', 'fill="#0f7fd6"')
});
