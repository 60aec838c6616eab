/** The plugins of this extension; in Voila, which loads it too, only its widgets: there is nothing of Lab to extend. */
import { PageConfig } from '@jupyterlab/coreutils';

const isVoila = PageConfig.getOption('appUrl') === 'voila/';

export default isVoila ? (await import('./plugins/widgets')).widgets : (await import('./plugins')).plugins;
