import { describe, expect, it } from 'vitest';
import { analyse } from './structure.ts';

function graph(edges: Readonly<Record<number, readonly number[]>>) {
  return analyse({ entry: 0, successors: (node) => edges[node] ?? [] });
}

describe('structure of a control-flow graph', () => {
  it('sees a loop and its exit', () => {
    const s = graph({ 0: [1], 1: [2, 3], 2: [1], 3: [] });
    expect(s.isLoopHeader(1)).toBe(true);
    expect(s.isLoopHeader(0)).toBe(false);
    expect(s.edge(2, 1)).toBe('back');
    expect(s.edge(1, 3)).toBe('forward');
    expect(new Set(s.children(1))).toEqual(new Set([2, 3]));
  });

  it('sees where branches meet', () => {
    const s = graph({ 0: [1, 2], 1: [3], 2: [3], 3: [] });
    expect(s.isMerge(3)).toBe(true);
    expect(s.isMerge(1)).toBe(false);
    expect(s.children(0)).toContain(3);
  });

  it('tells an edge into the middle of a loop', () => {
    // 1 and 2 make a loop that is entered at either of them.
    const s = graph({ 0: [1, 2], 1: [2], 2: [1] });
    const kinds = [s.edge(1, 2), s.edge(2, 1)];
    expect(kinds).toContain('irreducible');
    expect(kinds).not.toContain('back');
  });

  it('nests loops', () => {
    const s = graph({ 0: [1], 1: [2], 2: [2, 3], 3: [1, 4], 4: [] });
    expect([1, 2].every((n) => s.isLoopHeader(n))).toBe(true);
    expect(s.edge(2, 2)).toBe('back');
    expect(s.edge(3, 1)).toBe('back');
  });
});
