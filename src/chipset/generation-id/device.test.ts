import { expect, it } from 'vitest';
import { GenerationId, generationIdState } from './device.ts';

it('is written and announced when it changes, and stays in a reset', () => {
  const view = generationIdState.view(new SharedArrayBuffer(generationIdState.size), 0);
  const done: string[] = [];
  const device = new GenerationId(view, {
    write: (id) => done.push(id.join()),
    notify: () => done.push('notify'),
  });
  device.begin(new Uint8Array(16).fill(1));
  expect(done.splice(0)).toEqual(['1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1']);
  device.change(Uint8Array.from({ length: 16 }, (_, i) => i));
  const text = '0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15';
  expect(done).toEqual([text, 'notify']);
  expect(device.inspect()).toEqual({ id: '03020100-0504-0706-0809-0a0b0c0d0e0f' });
  device.reset();
  device.place();
  expect(done).toEqual([text, 'notify', text]);
});
