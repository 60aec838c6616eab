/** Submit the form of a field on Enter: JupyterLab keeps browsers from submitting forms in outputs. */
export function onEnter(event: KeyboardEvent): void {
  const field = event.target;
  if (event.key === 'Enter' && !event.defaultPrevented && field instanceof HTMLInputElement && field.form) {
    event.preventDefault();
    event.stopPropagation();
    field.form.requestSubmit();
  }
}
