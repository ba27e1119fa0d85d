/**
 * Control flow of a region as WebAssembly's blocks and loops: the dominator tree turned into nested structure (N. Ramsey,
 * "Beyond Relooper", ICFP 2022). An edge that would make the graph irreducible leaves the region instead.
 */

export interface Graph {
  readonly entry: number;
  successors(node: number): readonly number[];
}

export interface Structure {
  /** Reverse postorder number of each reachable node. */
  readonly order: ReadonlyMap<number, number>;
  /** Nodes that a node immediately dominates, in reverse postorder. */
  children(node: number): readonly number[];
  isLoopHeader(node: number): boolean;
  /** Reached by more than one forward edge. */
  isMerge(node: number): boolean;
  /** What the edge is: into a loop that is open, to a node further on, or one that structure cannot express. */
  edge(from: number, to: number): 'back' | 'forward' | 'irreducible';
}

export function analyse(graph: Graph): Structure {
  const postorder: number[] = [];
  const seen = new Set<number>([graph.entry]);
  const stack: { node: number; next: number }[] = [{ node: graph.entry, next: 0 }];
  while (stack.length > 0) {
    const top = stack[stack.length - 1] as { node: number; next: number };
    const successor = graph.successors(top.node)[top.next++];
    if (successor === undefined) {
      postorder.push(top.node);
      stack.pop();
    } else if (!seen.has(successor)) {
      seen.add(successor);
      stack.push({ node: successor, next: 0 });
    }
  }
  const nodes = postorder.reverse();
  const order = new Map(nodes.map((node, i) => [node, i]));
  const predecessors = new Map<number, number[]>(nodes.map((n) => [n, []]));
  for (const node of nodes) for (const s of graph.successors(node)) predecessors.get(s)?.push(node);

  // Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm".
  const immediate = new Map<number, number>([[graph.entry, graph.entry]]);
  const number = (node: number): number => order.get(node) as number;
  const meet = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (number(x) > number(y)) x = immediate.get(x) as number;
      while (number(y) > number(x)) y = immediate.get(y) as number;
    }
    return x;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of nodes) {
      if (node === graph.entry) continue;
      let best: number | undefined;
      for (const p of predecessors.get(node) ?? []) {
        if (!immediate.has(p)) continue;
        best = best === undefined ? p : meet(best, p);
      }
      if (best !== undefined && immediate.get(node) !== best) {
        immediate.set(node, best);
        changed = true;
      }
    }
  }
  const dominates = (a: number, b: number): boolean => {
    let x = b;
    while (number(x) > number(a)) x = immediate.get(x) as number;
    return x === a;
  };
  const children = new Map<number, number[]>(nodes.map((n) => [n, []]));
  for (const node of nodes) if (node !== graph.entry) children.get(immediate.get(node) as number)?.push(node);
  const headers = new Set<number>();
  const forward = new Map<number, number>();
  const kind = (from: number, to: number): 'back' | 'forward' | 'irreducible' => {
    if (number(to) > number(from)) return 'forward';
    return dominates(to, from) ? 'back' : 'irreducible';
  };
  for (const node of nodes) {
    for (const to of graph.successors(node)) {
      const k = kind(node, to);
      if (k === 'back') headers.add(to);
      else if (k === 'forward') forward.set(to, (forward.get(to) ?? 0) + 1);
    }
  }
  return {
    order,
    children: (node) => children.get(node) ?? [],
    isLoopHeader: (node) => headers.has(node),
    isMerge: (node) => (forward.get(node) ?? 0) > 1,
    edge: kind,
  };
}
