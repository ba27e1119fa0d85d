/** Port forwards as people write them: `8080:80`, `5353:53/udp`, `127.0.0.1:8080:80`, several with spaces or commas. */
import type { Forward } from '../../contracts/api/vm.ts';

const FORM = /^(?:(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:]+\]):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/i;

/** @throws Error with what is no forward */
export function parseForwards(text: string): Forward[] {
  return text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((each) => {
      const match = FORM.exec(each);
      const [hostPort, guestPort] = [Number(match?.[2]), Number(match?.[3])];
      const port = (value: number): boolean => value >= 1 && value <= 65_535;
      if (!match || !port(hostPort) || !port(guestPort))
        throw new Error(`${each} is no port forward: write HOSTPORT:GUESTPORT, as 8080:80 or 5353:53/udp`);
      const protocol = (match[4]?.toLowerCase() ?? 'tcp') as Forward['protocol'];
      const hostAddress = match[1]?.replace(/[[\]]/g, '');
      return { protocol, hostPort, guestPort, ...(hostAddress === undefined ? {} : { hostAddress }) };
    });
}

type HostPort = Pick<Forward, 'protocol'> & { readonly port: number };

/** Ports of the host that guests reach: `5432`, `53/udp`. @throws Error with what is no port */
export function parsePorts(text: string): HostPort[] {
  return text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((each) => {
      const match = /^(\d{1,5})(?:\/(tcp|udp))?$/i.exec(each);
      const port = Number(match?.[1]);
      if (!match || port < 1 || port > 65_535) throw new Error(`${each} is no port: write 5432, or 53/udp`);
      return { protocol: (match[2]?.toLowerCase() ?? 'tcp') as Forward['protocol'], port };
    });
}

export function portText({ protocol, port }: HostPort): string {
  return `${port}${protocol === 'udp' ? '/udp' : ''}`;
}

export function forwardText({ protocol, hostAddress, hostPort, guestPort }: Forward): string {
  const host = hostAddress === undefined ? '' : `${hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress}:`;
  return `${host}${hostPort}:${guestPort}${protocol === 'udp' ? '/udp' : ''}`;
}
