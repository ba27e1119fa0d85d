import { expect, it } from 'vitest';
import { forwardText, parseForwards, parsePorts, portText } from './forwards.ts';

it('are read as they are written', () => {
  const text = '8080:80 127.0.0.2:2222:22, 5353:53/udp [::1]:81:80';
  const forwards = parseForwards(text);
  expect(forwards[0]).toEqual({ protocol: 'tcp', hostPort: 8080, guestPort: 80 });
  expect(forwards.map(forwardText)).toEqual(text.split(/[\s,]+/));
  expect(parseForwards(' ')).toEqual([]);
});
it.each(['80', '0:80', '80:65536', 'x:80', '80:80/sctp', '1.2.3:80:80'])('%s is none', (text) => {
  expect(() => parseForwards(text)).toThrow(`${text} is no port forward`);
});

it('ports of the host too', () => {
  const text = '5432 53/udp';
  expect(parsePorts(text)[0]).toEqual({ protocol: 'tcp', port: 5432 });
  expect(parsePorts(text).map(portText).join(' ')).toBe(text);
  for (const none of ['0', '65536', '80:80', 'x', '80/sctp'])
    expect(() => parsePorts(none)).toThrow(`${none} is no port`);
});
