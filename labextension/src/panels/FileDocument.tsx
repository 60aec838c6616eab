/** The preview of a bucket file in the main area, same as in the storage browser of notebooks. */
import { ReactWidget } from '@jupyterlab/ui-components';
import React, { useEffect, useState } from 'react';

import '../../style/panel.css';
import { Preview, FilePreview } from '../components/Preview';
import { request } from '../request';
import { trans } from '../trans';
import { StoragePreview } from '../types';

/** Insert code that loads the file into a variable. */
type Load = (name: string) => void;

export class FileDocument extends ReactWidget {
  constructor(
    readonly key: string,
    private readonly load: Load
  ) {
    super();
    this.addClass('lk');
    this.addClass('lk-document');
    this.title.label = key.split('/').pop()!;
    this.title.caption = key;
  }

  protected render() {
    return <FileView path={this.key} onLoad={this.load} />;
  }
}

function FileView({ path, onLoad }: { path: string; onLoad: Load }) {
  const [preview, setPreview] = useState<StoragePreview | null>(null);
  const [trouble, setTrouble] = useState('');
  useEffect(() => {
    request<StoragePreview>(`storage/preview?key=${encodeURIComponent(path)}`).then(setPreview, (failure: Error) =>
      setTrouble(failure.message)
    );
  }, [path]);
  if (!preview) {
    return <p role="status">{trouble || trans.__('Reading %1 …', path)}</p>;
  }
  const { columns = [], rows = [], text = '', is_part = false, kind = '', remote = '' } = preview;
  const facts: FilePreview = {
    ...{ ...preview, rows, text, is_part, kind, remote, columns: columns as FilePreview['columns'] },
    ...{ size: '', free: 'data', image: null, mime: '' }
  };
  return <Preview file={facts} loaded={{}} isBusy={false} onLoad={onLoad} />;
}
