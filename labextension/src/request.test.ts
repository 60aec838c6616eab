import { expect, test } from 'vitest';

import { parseJson } from './request';

const VM = JSON.stringify({ vms: [{ vm_id: 'a1', display_name: '\u202exob\u061c', code: '"\u202e"' }] });

test('the name of a VM turns no words of the panel, and code stays exact', () => {
  expect(parseJson('api/vms/list', VM)).toEqual({ vms: [{ vm_id: 'a1', display_name: 'xob', code: '"\u202e"' }] });
});

test('a key of the bucket stays exact', () => {
  const item = JSON.stringify({ key: 'data/\u202egnp.csv' });
  expect(parseJson('storage/list?folder=data', item)).toEqual({ key: 'data/\u202egnp.csv' });
  expect(parseJson('api/storage/list-files', item)).toEqual({ key: 'data/\u202egnp.csv' });
});
