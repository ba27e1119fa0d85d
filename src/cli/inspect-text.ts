/** An inspect tree as indented text, names aligned within each node. */
import type { InspectNode } from '../contracts/partition.ts';

export function inspectText(node: InspectNode, indent = ''): string {
  const entries = Object.entries(node);
  const width = Math.max(0, ...entries.filter(([, value]) => typeof value !== 'object').map(([name]) => name.length));
  const lines: string[] = [];
  for (const [name, value] of entries) {
    if (typeof value === 'object') lines.push(`${indent}${name}:`, inspectText(value, `${indent}  `));
    else lines.push(`${indent}${name.padEnd(width)}  ${typeof value === 'bigint' ? `0x${value.toString(16)}` : value}`);
  }
  return lines.filter((line) => line !== '').join('\n');
}
