import React, { KeyboardEvent, memo, useLayoutEffect, useRef } from 'react';

import { trans, unturned } from '../trans';
import { moved, Order, Row, turned } from './folders';
import { Icon } from './Icon';

export interface StorageTreeProps {
  rows: Row[];
  order: Order;
  onOrder: (order: Order) => void;
  /** Id of the row with keyboard focus. */
  current: string;
  /** Key of the file in the preview. */
  previewed: string;
  onCurrent: (row: Row) => void;
  /** Called when the user activates a row: open or close a folder, preview a file, load more items. */
  onUse: (row: Row) => void;
  onDelete: (row: Row) => void;
}

/** The bucket as a tree: arrows, Home, End and letters move; Enter opens, Delete opens a confirmation. */
export function StorageTree({
  rows,
  order,
  current,
  previewed,
  onOrder,
  onCurrent,
  onUse,
  onDelete
}: StorageTreeProps) {
  const tree = useRef<HTMLDivElement>(null);
  const index = rows.findIndex(row => row.id === current);
  const last = useRef(0);
  const at = index < 0 ? Math.min(last.current, rows.length - 1) : index;
  last.current = at;
  const hasFocus = tree.current?.contains(document.activeElement); // read now, because the row with focus may disappear
  const [use, enter] = [useSteady(onUse), useSteady(onCurrent)];
  // Set focus before the next key: late focus would return to the previous row, and the two rows would alternate forever.
  useLayoutEffect(() => {
    if (hasFocus) {
      tree.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus();
    }
  }, [at, rows.length]);
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const row = rows[at];
    const target = moved(rows, at, event.key);
    if (target) {
      onCurrent(target);
    } else if (event.key === 'Enter' || event.key === ' ' || turns(row, event.key)) {
      onUse(row);
    } else if (event.key === 'Delete' && row.item) {
      onDelete(row);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className="lk-listing">
      <Heads order={order} onOrder={onOrder} />
      <div className="lk-tree" role="tree" aria-label={trans.__('Bucket')} ref={tree} onKeyDown={press}>
        {rows.map((row, n) => (
          <TreeRow
            key={row.id}
            {...row}
            isCurrent={n === at}
            isPreviewed={row.id === previewed}
            onUse={use}
            onCurrent={enter}
          />
        ))}
      </div>
    </div>
  );
}

/** The column titles, which sort the rows. */
function Heads({ order, onOrder }: Pick<StorageTreeProps, 'order' | 'onOrder'>) {
  const names: [Order['by'], string][] = [
    ['name', trans.__('Name')],
    ['size', trans.__('Size')],
    ['written', trans.__('Modified')]
  ];
  return (
    <div className="lk-tree-heads" role="group" aria-label={trans.__('Sort by')}>
      {names.map(([by, name]) => (
        <button
          key={by}
          type="button"
          className={`lk-plain lk-tree-head-${by}`}
          aria-pressed={order.by === by}
          onClick={() => onOrder(turned(order, by))}
        >
          {name}
          {order.by === by && <Icon name={order.down ? 'down' : 'up'} />}
        </button>
      ))}
    </div>
  );
}

/** Return whether a key opens or closes the folder of a row. */
function turns(row: Row, key: string): boolean {
  return row.kind === 'folder' && key === (row.isOpen ? 'ArrowLeft' : 'ArrowRight');
}

type TreeRowProps = Row & {
  isCurrent: boolean;
  isPreviewed: boolean;
  onUse: (row: Row) => void;
  onCurrent: (row: Row) => void;
};

const TreeRow = memo(
  function TreeRow({ isCurrent, isPreviewed, onUse, onCurrent, ...row }: TreeRowProps) {
    const { id, kind, name, level, isOpen, item } = row;
    const use = () => {
      onCurrent(row);
      onUse(row);
    };
    return (
      <div
        role="treeitem"
        className={`lk-tree-row lk-tree-${kind}`}
        style={{ paddingLeft: `${(level - 1) * 18 + 4}px` }}
        tabIndex={isCurrent ? 0 : -1}
        aria-level={level}
        aria-expanded={kind === 'folder' ? isOpen : undefined}
        aria-selected={isPreviewed}
        data-folder={kind === 'folder' ? id : row.folder}
        onFocus={() => isCurrent || onCurrent(row)}
        onClick={use}
      >
        <span className="lk-tree-sign" aria-hidden="true">
          {kind === 'folder' && <Icon name={isOpen ? 'down' : 'right'} />}
        </span>
        {item && <Icon name={kind === 'folder' ? 'folder' : 'file'} />}
        <span className="lk-tree-name" title={unturned(name)}>
          {visibleName(name)}
        </span>
        {item && <span className="lk-quiet lk-figure">{item.size}</span>}
        {item && <span className="lk-quiet lk-tree-written">{item.written}</span>}
      </div>
    );
  },
  (one, other) => (Object.keys(one) as (keyof TreeRowProps)[]).every(name => one[name] === other[name])
);

/** Return a name with visible replacements of invisible characters. */
function visibleName(name: string): string {
  return name === '/'
    ? trans.__('(no name)/')
    : unturned(name).replace(/^ +| +$/g, blanks => '␣'.repeat(blanks.length));
}

/** Return a stable function that calls the function of the latest render, so that rows aren't drawn again. */
function useSteady<A extends unknown[]>(call: (...args: A) => void): (...args: A) => void {
  const latest = useRef(call);
  latest.current = call;
  return useRef((...args: A) => latest.current(...args)).current;
}
