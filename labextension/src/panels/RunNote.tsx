/** The note about a run in its document: text of the user, which the journal of this machine stores. */
import React, { FormEvent, useEffect, useRef, useState } from 'react';

import { onEscape } from '../components/Question';
import { request } from '../request';
import { trans } from '../trans';
import { JournalCode } from '../types';

interface RunNoteProps {
  id: string;
  note: string;
  /** Called with the stored note. */
  onStored: (note: string) => void;
  onFailure: (message: string) => void;
}

/** Characters that the journal stores. */
const LONGEST = 2000;

/** The note, and a button that opens the form. */
export function RunNote({ id, note, onStored, onFailure }: RunNoteProps) {
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    requestAnimationFrame(() => button.current?.focus());
  };
  const store = async (text: string) => {
    close();
    onFailure('');
    try {
      const path = `journal/${encodeURIComponent(id)}/note`;
      onStored((await request<JournalCode>(path, { method: 'PUT', body: { note: text } })).note);
    } catch (failure) {
      onFailure((failure as Error).message);
    }
  };
  if (isOpen) {
    return <NoteForm note={note} onStore={text => void store(text)} onCancel={close} />;
  }
  return (
    <div className="lk-run-note">
      {note && <span>{note}</span>}
      <button ref={button} type="button" className="lk-link" onClick={() => setOpen(true)}>
        {note ? trans.__('Edit the note') : trans.__('Add a note')}
      </button>
    </div>
  );
}

type NoteFormProps = { note: string; onStore: (text: string) => void; onCancel: () => void };

function NoteForm({ note, onStore, onCancel }: NoteFormProps) {
  const [text, setText] = useState(note);
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current!.focus(), []);
  const send = (event: FormEvent) => {
    event.preventDefault();
    onStore(text.trim());
  };
  return (
    <form className="lk-run-note lk-typing" onSubmit={send} onKeyDown={onEscape(onCancel)}>
      <textarea
        ref={field}
        rows={2}
        maxLength={LONGEST}
        aria-label={trans.__('Note')}
        value={text}
        onInput={event => setText(event.currentTarget.value)}
      />
      <button type="submit">{trans.__('Save')}</button>
      <button type="button" onClick={onCancel}>
        {trans.__('Cancel')}
      </button>
    </form>
  );
}
