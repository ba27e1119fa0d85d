import type { Guest } from './machines.ts';
export async function profileBoot(_guest: Guest): Promise<{ json: unknown; text: string }> { await Promise.resolve(); throw new Error('todo'); }
