/** The sidebar: the sign-in, or the sections of the cloud. Loaded when first shown. */
import type { ICodeCellModel } from '@jupyterlab/cells';
import type { INotebookTracker } from '@jupyterlab/notebook';
import {
  caretDownIcon,
  MenuSvg,
  PanelWithToolbar,
  ReactWidget,
  refreshIcon,
  SidePanel
} from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { IDisposable } from '@lumino/disposable';
import { Message, MessageLoop } from '@lumino/messaging';
import { AccordionPanel, Title, Widget } from '@lumino/widgets';
import React, { ReactElement } from 'react';

import '../../style/panel.css';
import { Cloud } from '../cloud';
import { RunRow, Topic } from '../cloudTypes';
import { COMMANDS, asUiCall } from '../commands';
import { NoticeText } from '../components/Notice';
import type { Act } from '../components/Rows';
import { toLabPath } from '../labPath';
import { Head } from './Head';
import { SectionSpec, sectionSpecs } from './sections';
import type { Tools } from './tools';

/** Section → whether the user left the section open. */
export type Open = Record<string, boolean>;

/** Topics of the panel; open sections add more. */
const TOPICS: Topic[] = ['running', 'journal', 'history', 'balance', 'burnRate', 'machines'];

export class CloudPanel extends SidePanel {
  private notice: NoticeText = { kind: 'info', text: '' };
  private readonly head: View;
  /** Resize the sections to the space below the head. */
  private readonly size = new ResizeObserver(() =>
    MessageLoop.postMessage(this.content, Widget.ResizeMessage.UnknownSize)
  );

  /** Fit the sections when a form makes a section higher, so that the panel scrolls and not the section. */
  private readonly sectionSize = new ResizeObserver(() => this.content.fit());

  /** `open` contains the initial state of the sections; `onOpen` is called when a section opens or closes. */
  constructor(
    private readonly cloud: Cloud,
    commands: CommandRegistry,
    open: Open,
    onOpen: (open: Open) => void,
    notebooks: INotebookTracker | null
  ) {
    super({ renderer: new TitleRenderer() });
    this.addClass('lk');
    this.addClass('lk-panel');
    const tools = (isVisible: boolean): Tools => ({
      ...{ cloud, commands, isVisible, say: this.say },
      ...{ onMenu: makeMenuOpener(commands), onActs, getCount: run => findCount(notebooks, run) }
    });
    this.head = new View(cloud, TOPICS, isVisible => <Head tools={tools(isVisible)} notice={this.notice} />);
    this.header.addWidget(this.head);
    const specs = sectionSpecs();
    specs.forEach(spec => this.addWidget(new Section(spec, cloud, tools)));
    this.content.widgets.forEach(({ node }) => this.sectionSize.observe(node));
    const content = this.content as AccordionPanel;
    specs.forEach(({ id, isOpen }, at) => (open[id] ?? isOpen) || content.collapse(at));
    content.expansionToggled.connect(() => {
      const isOpen = content.widgets.map(widget => !widget.isHidden);
      content.setRelativeSizes(isOpen.map(Number)); // Lab's handler would open sections without a height
      onOpen(Object.fromEntries(specs.map(({ id }, at) => [id, isOpen[at]])));
    });
    this.size.observe(this.node);
    this.size.observe(this.head.node);
    cloud.changed.connect(() => this.onCloud(), this);
    this.onCloud();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.cloud.showsMoney = this.isVisible;
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.cloud.showsMoney = this.isVisible;
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.cloud.showsMoney = this.isVisible;
  }

  dispose(): void {
    this.size.disconnect();
    this.sectionSize.disconnect();
    super.dispose();
  }

  /** Show the sections only to a signed-in user. */
  private onCloud(): void {
    this.content.setHidden(!this.cloud.signedIn);
  }

  private readonly say = (notice: NoticeText): void => {
    this.notice = notice;
    this.head.update();
  };
}

/** Subscribe to topics while visible, and draw again after each answer. */
class View extends ReactWidget {
  private wish: IDisposable | null = null;
  private wasSeen = false;

  constructor(
    private readonly cloud: Cloud,
    private readonly topics: Topic[],
    private readonly draw: (isVisible: boolean) => ReactElement
  ) {
    super();
    this.addClass('lk-view');
    cloud.changed.connect(() => this.onCloud(), this);
  }

  protected render() {
    return this.wasSeen ? this.draw(this.isVisible) : null;
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.listen();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.listen();
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.listen();
  }

  dispose(): void {
    this.wish?.dispose();
    super.dispose();
  }

  private onCloud(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  private listen(): void {
    this.wish?.dispose();
    this.wish = this.isVisible ? this.cloud.subscribe(...this.topics) : null;
    this.wasSeen ||= this.isVisible;
    this.update();
  }
}

/** A section that folds, with a count and buttons next to its title. */
class Section extends PanelWithToolbar {
  private readonly count = new Widget({ node: document.createElement('span') });

  constructor(
    private readonly spec: SectionSpec,
    private readonly cloud: Cloud,
    tools: (isVisible: boolean) => Tools
  ) {
    super();
    const { id, title, topics, Body } = spec;
    this.id = `lk-section-${id}`;
    this.title.label = title;
    this.addClass('lk-section');
    this.addWidget(new View(cloud, topics, isVisible => <Body tools={tools(isVisible)} />));
    this.count.addClass('lk-count');
    this.toolbar.node.setAttribute('aria-label', title);
    this.toolbar.addItem('count', this.count);
    for (const action of spec.actions) {
      this.toolbar.addItem(action.name, new Widget({ node: createButton(action, () => void action.act(tools(true))) }));
    }
    cloud.changed.connect(() => this.onCloud(), this);
    this.onCloud();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.node.removeAttribute('aria-labelledby'); // the title with everything in its toolbar
    this.node.setAttribute('aria-label', this.title.label);
  }

  private onCloud(): void {
    this.count.node.textContent = this.spec.count(this.cloud);
  }
}

/** Create a toolbar button. Lab's button announces a pressed state, which plain buttons must not have. */
function createButton({ name, icon }: SectionSpec['actions'][number], onClick: () => void): HTMLElement {
  const button = document.createElement('button');
  Object.assign(button, { type: 'button', className: 'lk-icon-button', title: name, ariaLabel: name });
  (icon ?? refreshIcon).element({ container: button });
  button.addEventListener('click', onClick);
  return button;
}

/** Section titles as headings with a button: a heading can't be expanded, and a button can't contain the toolbar. */
class TitleRenderer extends AccordionPanel.Renderer {
  createCollapseIcon(): HTMLElement {
    const place = document.createElement('div');
    caretDownIcon.element({ container: place });
    return place;
  }

  createSectionTitle(data: Title<Widget>): HTMLElement {
    const title = super.createSectionTitle(data);
    title.classList.add('jp-AccordionPanel-title');
    title.removeAttribute('tabindex');
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'lk-fold';
    button.append(...title.childNodes);
    title.append(button);
    title.setAttribute = (name, value) =>
      ['aria-expanded', 'aria-controls'].includes(name)
        ? button.setAttribute(name, value)
        : name !== 'aria-label' && Element.prototype.setAttribute.call(title, name, value);
    title.focus = () => button.focus();
    return title;
  }
}

/** Return a function that opens the menu of a run. */
function makeMenuOpener(commands: CommandRegistry): Tools['onMenu'] {
  return (run: RunRow, x: number, y: number) => {
    const menu = new MenuSvg({ commands });
    const args = asUiCall(run);
    const inCell = run.notebook && run.cellId ? [COMMANDS.rerunCell, COMMANDS.goToCell] : [];
    for (const command of [COMMANDS.openRun, ...(run.isActive ? [COMMANDS.abortRun] : []), ...inCell]) {
      menu.addItem({ command, args });
    }
    menu.open(x, y);
  };
}

/** Show the menu of a row. */
function onActs(acts: Act[], x: number, y: number): void {
  const commands = new CommandRegistry();
  const menu = new MenuSvg({ commands });
  acts.forEach(({ words, onAct }, at) => {
    commands.addCommand(`${at}`, { label: words, execute: onAct });
    menu.addItem({ command: `${at}` });
  });
  menu.open(x, y);
}

/** Return the execution number of a run's cell; null if its notebook isn't open, or the cell wasn't executed. */
function findCount(notebooks: INotebookTracker | null, { notebook, cellId }: RunRow): number | null {
  const path = notebook && toLabPath(notebook);
  const cells = path && notebooks?.find(({ context }) => context.path === path)?.content.model?.cells;
  const cell = [...(cells || [])].find(({ id, type }) => id === cellId && type === 'code');
  return (cell as ICodeCellModel | undefined)?.executionCount ?? null;
}
