/** The question and the report of a stop of everything that is billed by time. Loaded at the first click. */
import { Dialog, Notification, ReactWidget, showDialog } from '@jupyterlab/apputils';
import React from 'react';

import '../style/panel.css';
import { burnRateWords } from './balance';
import type { Cloud } from './cloud';
import { priceLabel } from './format';
import { request } from './request';
import { stateLabel } from './runs';
import { trans } from './trans';
import { BurningThing, StopContent, StopPlanContent } from './types';

/** Show everything that is billed by time with its cost per hour, stop it after a confirmation, and report the result. */
export async function stopAll(cloud: Cloud): Promise<void> {
  const plan = await request<StopPlanContent>('active');
  const { things } = plan;
  const cancel = Dialog.cancelButton(things.length ? {} : { label: trans.__('Close') });
  const { button } = await showDialog({
    title: things.length ? trans.__('Stop all?') : trans.__('Nothing to stop'),
    body: new PlanView(plan),
    buttons: things.length ? [cancel, Dialog.warnButton({ label: trans.__('Stop all') })] : [cancel],
    defaultButton: 0
  });
  if (!button.accept) {
    return;
  }
  const body = { ids: things.map(({ id }) => id) };
  const words = trans._n('Stopping %1 thing …', 'Stopping %1 things …', things.length);
  const id = Notification.emit(words, 'in-progress', { autoClose: false });
  try {
    report(id, await request<StopContent>('active', { method: 'POST', body }));
  } catch (failure) {
    const problem = (failure as Error).message;
    const text = trans.__('Everything may still be active and billed: %1', problem);
    Notification.update({ id, message: text, type: 'error', autoClose: false });
  } finally {
    await cloud.refresh('running', 'vms', 'deployments', 'history', 'journal', 'balance', 'burnRate');
  }
}

function report(id: string, { stopped, problems, notes }: StopContent): void {
  const isComplete = !problems.length;
  const ended = stopped.length ? trans.__('Stopped: %1.', stopped.length) : '';
  const message = [ended, ...problems, ...notes].filter(Boolean).join('\n') || trans.__('Nothing to stop.');
  const type = isComplete ? (notes.length ? 'warning' : 'success') : 'error';
  Notification.update({ id, message, type, autoClose: isComplete && !notes.length ? 5000 : false });
}

/** The list of a stop, as the body of a dialog. */
class PlanView extends ReactWidget {
  constructor(private readonly plan: StopPlanContent) {
    super();
    this.addClass('lk-stop-plan');
  }

  protected render() {
    const { things, question, notes } = this.plan;
    return (
      <>
        {things.length > 0 && <Things things={things} />}
        {question && <p>{question}</p>}
        {notes.map(note => (
          <p key={note} className="lk-quiet">
            {note}
          </p>
        ))}
      </>
    );
  }
}

function Things({ things }: { things: BurningThing[] }) {
  const sum = things.reduce((all, { per_hour }) => all + Number(per_hour ?? 0), 0);
  const complete = things.every(({ per_hour }) => per_hour !== null);
  const total = burnRateWords({ things, per_hour: String(Number(sum.toFixed(6))), complete, label: '' });
  return (
    <table tabIndex={0}>
      <caption className="lk-unseen">{trans.__('Active now')}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Name')}</th>
          <th scope="col">{trans.__('Kind')}</th>
          <th scope="col">{trans.__('State')}</th>
          <th scope="col">{trans.__('Cost per hour')}</th>
        </tr>
      </thead>
      <tbody>
        {things.map(({ id, kind, name, hardware, state, per_hour: price }) => (
          <tr key={id}>
            <th scope="row" title={id}>
              {name || id.slice(0, 8)}
            </th>
            <td>{[kind, hardware].filter(Boolean).join(' · ')}</td>
            <td>{stateLabel(state)}</td>
            <td>{price === null ? trans.__('price unknown') : priceLabel(Number(price))}</td>
          </tr>
        ))}
      </tbody>
      <tfoot>
        <tr>
          <th scope="row" colSpan={3}>
            {trans.__('Total')}
          </th>
          <td>{total}</td>
        </tr>
      </tfoot>
    </table>
  );
}
