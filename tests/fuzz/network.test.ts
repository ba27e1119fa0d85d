import { describe, it } from 'vitest';
import { arpTarget, dhcpTarget, dnsTarget, udpTarget } from './network.ts';
import { runCases } from './stateful.ts';
import { switchTarget } from './switch.ts';
import { switchPortTarget } from './switch-port.ts';
import { tcpTarget } from './tcp.ts';

/** A portion of what `npm run fuzz -- --target nat-arp|nat-dhcp|nat-dns|nat-udp|nat-tcp|switch|switch-port` does at length. */
describe('a guest that means harm to its network', () => {
  it('resolves as it likes', () => runCases(arpTarget, 0, 1500));
  it('asks for addresses as it likes', () => runCases(dhcpTarget, 0, 1500));
  it('asks for names as it likes', () => runCases(dnsTarget, 0, 2000));
  it('sends datagrams and fragments as it likes', () => runCases(udpTarget, 0, 2000));
  it('speaks TCP as it likes, and gets no byte wrong', () => runCases(tcpTarget, 0, 3000));
  it('plugs into the switch what it likes', () => runCases(switchTarget, 0, 3000));
  it('says to the switch process what it likes', () => runCases(switchPortTarget, 0, 2000));
});
