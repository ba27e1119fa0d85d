/** A part of the page that fails is replaced by a note; the rest goes on. */
import { Component, type ReactNode } from 'react';
import { messageOf } from '../store/api.ts';
import { Button } from './button.tsx';
import { Empty } from './empty.tsx';

export class Boundary extends Component<{ readonly children: ReactNode }, { readonly error?: unknown }> {
  override state: { readonly error?: unknown } = {};

  static getDerivedStateFromError(error: unknown): { readonly error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === undefined) return this.props.children;
    return (
      <Empty title="This part of the page could not be shown" text={messageOf(this.state.error)}>
        <Button onClick={() => location.reload()}>Load the page again</Button>
      </Empty>
    );
  }
}
