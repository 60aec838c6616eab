import React, { useId, useState } from 'react';

import { trans } from '../trans';
import { Signed } from './Icon';

/** An option as declared by a magic. */
export interface FormField {
  name: string;
  flag: string;
  kind: 'switch' | 'choice' | 'words' | 'pairs' | 'text';
  choices: string[];
  placeholder: string;
  suggestions: string[];
  help: string;
  open: boolean;
}

export type Entry = string | boolean;

export interface OptionsFormProps {
  fields: FormField[];
  entries: Record<string, Entry>;
  problems: Record<string, string>;
  line: string;
  onEntries: (entries: Record<string, Entry>) => void;
}

/** Return whether the name or the help of a field contains a word. */
export function matches(field: FormField, word: string): boolean {
  return `${field.flag} ${field.help}`.toLowerCase().includes(word.trim().toLowerCase());
}

export function OptionsForm({ fields, entries, problems, line, onEntries }: OptionsFormProps) {
  const [word, setWord] = useState('');
  const row = (field: FormField) => (
    <FieldRow
      key={field.name}
      field={field}
      entry={entries[field.name] ?? ''}
      problem={problems[field.name] ?? ''}
      onEntry={entry => onEntries({ ...entries, [field.name]: entry })}
    />
  );
  const rest = fields.filter(field => !field.open);
  const matching = rest.filter(field => matches(field, word));
  const wrong = rest.some(field => problems[field.name]);
  return (
    <form className="lk-form" onSubmit={event => event.preventDefault()}>
      {fields.filter(field => field.open).map(row)}
      {rest.length > 0 && (
        <details open={wrong || undefined}>
          <summary>{trans._n('%1 more option', '%1 more options', rest.length)}</summary>
          <input
            type="search"
            aria-label={trans.__('Find an option')}
            placeholder={trans.__('Find an option')}
            value={word}
            onInput={event => setWord((event.target as HTMLInputElement).value)}
          />
          {matching.length ? (
            matching.map(row)
          ) : (
            <p>{trans.__('No option contains “%1” in its name or help.', word)}</p>
          )}
        </details>
      )}
      <p role="status" className="lk-quiet">
        {line ? <code>{line}</code> : trans.__('No option is set.')}
      </p>
    </form>
  );
}

type RowProps = { field: FormField; entry: Entry; problem: string; onEntry: (entry: Entry) => void };

function FieldRow({ field, entry, problem, onEntry }: RowProps) {
  const id = useId();
  return (
    <div className="lk-field">
      <label htmlFor={id}>{field.flag}</label>
      <Control id={id} field={field} entry={entry} problem={problem} onEntry={onEntry} />
      <div id={`${id}-help`} className={problem ? 'lk-problem' : 'lk-quiet'}>
        {problem ? <Signed text={`✗ ${problem}`} /> : field.help}
      </div>
    </div>
  );
}

function Control({ id, field, entry, problem, onEntry }: RowProps & { id: string }) {
  const attributes = { id, 'aria-describedby': `${id}-help`, 'aria-invalid': !!problem };
  if (field.kind === 'switch') {
    return <input {...attributes} type="checkbox" checked={entry === true} onChange={() => onEntry(entry !== true)} />;
  }
  if (field.kind === 'choice') {
    return (
      <select {...attributes} value={String(entry)} onChange={event => onEntry(event.target.value)}>
        {field.choices.map(choice => (
          <option key={choice} value={choice}>
            {choice || trans.__('default')}
          </option>
        ))}
      </select>
    );
  }
  return (
    <>
      <input
        {...attributes}
        type="text"
        list={field.suggestions.length ? `${id}-list` : undefined}
        placeholder={field.placeholder}
        value={String(entry)}
        onInput={event => onEntry((event.target as HTMLInputElement).value)}
      />
      {field.suggestions.length > 0 && (
        <datalist id={`${id}-list`}>
          {field.suggestions.map(name => (
            <option key={name} value={name} />
          ))}
        </datalist>
      )}
    </>
  );
}
