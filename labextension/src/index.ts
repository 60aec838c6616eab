/** The plugins of this extension; none in Voila, which loads it too: there is nothing of Lab to extend. */
import { PageConfig } from '@jupyterlab/coreutils';

const isVoila = PageConfig.getOption('appUrl') === 'voila/';

export default isVoila ? [] : (await import('./plugins')).plugins;
