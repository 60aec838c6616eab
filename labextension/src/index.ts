/** The plugins of this extension. In Voila, only the widgets load: there is no Lab to extend. */
import { PageConfig } from '@jupyterlab/coreutils';

const isVoila = PageConfig.getOption('appUrl') === 'voila/';

export default isVoila ? (await import('./plugins/widgets')).widgets : (await import('./plugins')).plugins;
