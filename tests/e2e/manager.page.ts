/** A page of the Manager, driven as a person does it. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Locator, Page } from 'playwright-core';
import { afterEach, expect } from 'vitest';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const PROMPT = 'root@viridian';

/** What the page showed when a test failed: a locator that was waited for in vain does not say. */
export function tellWhenFailed(page: () => Page): void {
  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    const text = await page()
      .locator('#root')
      .ariaSnapshot()
      .catch((error: unknown) => String(error));
    console.error(`${task.name}: ${page().url()}\n${text}`);
  });
}

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

export class ManagerPage {
  readonly page: Page;
  /** What went wrong in the page, or was stopped by its policy. */
  readonly problems: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.setDefaultTimeout(120_000);
    page.on('pageerror', (error) => this.problems.push(error.message));
    page.on('console', (message) => {
      if (/Content Security Policy/.test(message.text())) this.problems.push(message.text());
    });
  }

  button(name: string): Locator {
    return this.page.getByRole('button', { name, exact: true });
  }
  get dialog(): Locator {
    return this.page.getByRole('dialog');
  }
  /** The state in the head of a machine's page. */
  state(name: string): Locator {
    return this.page.locator('.page-head .state', { hasText: new RegExp(`^${name}$`) });
  }
  async tab(name: string): Promise<void> {
    await this.page.locator('.tabs').getByRole('link', { name, exact: true }).click();
  }
  async go(name: string): Promise<void> {
    await this.page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click();
  }
  /** Opens a machine's page from the list. */
  async open(name: string): Promise<void> {
    await this.go('Virtual machines');
    await this.page.getByRole('link', { name, exact: true }).click();
    await this.page.locator('h1', { hasText: name }).waitFor();
  }
  async more(name: string): Promise<void> {
    await this.page
      .locator('.page-head')
      .getByRole('button', { name: /^More for/ })
      .click();
    await this.page.getByRole('menuitem', { name, exact: true }).click();
  }
  async confirm(name: string): Promise<void> {
    await this.dialog.getByRole('button', { name, exact: true }).click();
  }

  terminal(text: string): Locator {
    return this.page.locator('.xterm-accessibility-tree').filter({ hasText: text });
  }
  /** Types a command into the serial console. */
  async serial(line: string): Promise<void> {
    await this.page.locator('.terminal-box').click();
    await this.page.keyboard.type(`${line}\n`);
  }

  /** No finding that axe calls serious or critical. */
  async demandAccessible(where: string): Promise<void> {
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate<{ violations: readonly Violation[] }>('axe.run()');
    const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    expect(bad.map(({ id, nodes }) => `${where}: ${id}: ${nodes[0]?.html}`)).toEqual([]);
  }
}
