/** By what the plugins meet. */
import { Token } from '@lumino/coreutils';

import { Cloud } from './cloud';

export const ICloud = new Token<Cloud>('lk-jupyter:ICloud', 'What was heard of the GPU cloud, and hearing more.');
