/** Tokens of the services that plugins share. */
import { Token } from '@lumino/coreutils';

import { Cloud } from './cloud';

export const ICloud = new Token<Cloud>(
  'lk-jupyter:ICloud',
  'Provides the state of the GPU cloud and its updates to other plugins.'
);
