/** A listener that sends the form of a field at Enter, which JupyterLab keeps browsers from doing in an output. */
export function onEnter(event: KeyboardEvent): void {
  const field = event.target;
  if (event.key === 'Enter' && !event.defaultPrevented && field instanceof HTMLInputElement && field.form) {
    event.preventDefault();
    event.stopPropagation();
    field.form.requestSubmit();
  }
}
