/**
 * What the benchmark runs inside the guest. Each workload is a shell script of a Debian root (or one of our own
 * programs); what it prints must be the same on every machine. Sizes: a few tenths of a second under QEMU TCG.
 */

export interface Workload {
  readonly name: string;
  /** What it exercises. */
  readonly about: string;
  /** Debian package that its program is from, unmodified; undefined: a program of ours in programs/. */
  readonly package?: string;
  readonly script: string;
  /** Not timed: run once before the first workload that names it, see `PREPARATIONS`. */
  readonly needs?: keyof typeof PREPARATIONS;
}

/** Generated input, made by integer arithmetic that is exact in awk's doubles. */
export const PREPARATIONS = {
  words: `mawk 'BEGIN { x = 12345
  for (line = 0; line < 12000; line++) {
    for (word = 0; word < 12; word++) {
      x = (x * 1103515245 + 12345) % 2147483648
      n = int(x / 65536) % 3000
      printf "%c%c%d ", 97 + n % 26, 97 + int(n / 26) % 26, n * n % 9973
    }
    printf "%d\\n", x
  } }' > /tmp/words`,
} as const;

const debian: readonly Workload[] = [
  {
    name: 'gzip',
    about: 'compression',
    package: 'gzip',
    needs: 'words',
    script:
      'for i in 1 2 3 4; do gzip -6 -n -c /tmp/words | gzip -d -c | cksum; done; gzip -6 -n -c /tmp/words | cksum',
  },
  {
    name: 'xz',
    about: 'compression',
    package: 'xz-utils',
    needs: 'words',
    script: 'for i in 1 2 3 4; do head -c 700000 /tmp/words | xz -2 -c | xz -d -c | cksum; done',
  },
  {
    name: 'sha256sum',
    about: 'integer',
    package: 'coreutils',
    needs: 'words',
    script: 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cat /tmp/words /tmp/words /tmp/words; done | sha256sum',
  },
  {
    name: 'openssl',
    about: 'integer, SIMD',
    package: 'openssl',
    needs: 'words',
    script: `for i in 1 2 3 4; do openssl enc -aes-256-ctr -in /tmp/words -K 00010203040506070809 -iv 0102030405 2>/dev/null | openssl dgst -sha512
openssl enc -chacha20 -in /tmp/words -K 00010203040506070809 -iv 0102030405 2>/dev/null | openssl dgst -sha1; done`,
  },
  {
    name: 'sort',
    about: 'branches, memory',
    package: 'coreutils',
    needs: 'words',
    script:
      "for i in 1 2 3; do tr ' ' '\\n' < /tmp/words | LC_ALL=C sort | LC_ALL=C uniq -c | sort -n -r | sha256sum; done",
  },
  {
    name: 'grep',
    about: 'branches, memory',
    package: 'grep',
    needs: 'words',
    script: `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do grep -c -E '([a-m][a-z][0-9]+ ){3}.*77' /tmp/words; grep -F 99 /tmp/words | cksum; done`,
  },
  {
    name: 'mawk',
    about: 'interpreter, floating point',
    package: 'mawk',
    needs: 'words',
    script: `cat /tmp/words /tmp/words /tmp/words /tmp/words | mawk '{ for (i = 1; i < NF; i++) count[$i]++; sum += $NF / 3 }
  END { for (w in count) { n++; all += count[w] }; printf "%d %d %.3f\\n", n, all, sum }'`,
  },
  {
    name: 'perl',
    about: 'interpreter, floating point',
    package: 'perl-base',
    script: `perl -e '
my @b = ([0,0,0,0,0,0,39.47], [4.84,-1.16,-0.10,0.60,2.81,-0.02,0.037], [8.34,4.12,-0.4,-1.01,1.82,0.008,0.011],
  [12.89,-15.11,-0.22,1.08,0.86,-0.01,0.0017], [15.37,-25.9,0.179,0.97,0.59,-0.03,0.002]);
for (1 .. 9000) {
  for my $i (0 .. 4) { my $p = $b[$i];
    for my $j ($i + 1 .. 4) { my $q = $b[$j];
      my ($x, $y, $z) = ($p->[0] - $q->[0], $p->[1] - $q->[1], $p->[2] - $q->[2]);
      my $d = $x * $x + $y * $y + $z * $z; my $m = 0.001 / ($d * sqrt($d));
      $p->[3] -= $x * $q->[6] * $m; $p->[4] -= $y * $q->[6] * $m; $p->[5] -= $z * $q->[6] * $m;
      $q->[3] += $x * $p->[6] * $m; $q->[4] += $y * $p->[6] * $m; $q->[5] += $z * $p->[6] * $m; } }
  for my $p (@b) { $p->[$_] += 0.001 * $p->[$_ + 3] for 0 .. 2; }
}
printf "%.12f %.12f\\n", $b[0][0], $b[4][2];'`,
  },
  {
    name: 'python',
    about: 'interpreter, integer',
    package: 'python3-minimal',
    script: `python3 -S -c '
def fannkuch(n):
    p, count, flips, checksum, sign = list(range(n)), list(range(n)), 0, 0, 1
    while True:
        first, q, f = p[0], p[:], 0
        while first:
            q[:first + 1] = q[first::-1]
            first = q[0]
            f += 1
        flips = max(flips, f)
        checksum += sign * f
        if sign == 1:
            p[0], p[1] = p[1], p[0]
            sign = -1
        else:
            p[1], p[2] = p[2], p[1]
            sign = 1
            for i in range(2, n):
                if count[i]:
                    count[i] -= 1
                    break
                if i == n - 1:
                    return checksum, flips
                count[i] = i
                p.insert(i + 1, p.pop(0))
print(fannkuch(8))
x = 1
for i in range(60000): x = (x * 6364136223846793005 + i) % (1 << 64)
print(x, sum(i * 0.5 for i in range(150000)))'`,
  },
  {
    name: 'bc',
    about: 'interpreter, integer',
    package: 'bc',
    script: "echo 'scale=500; 4*a(1); e(1); l(2)' | BC_LINE_LENGTH=0 bc -l",
  },
  {
    name: 'sqlite',
    about: 'interpreter, file I/O',
    package: 'sqlite3',
    script: `rm -f /tmp/db; sqlite3 -batch /tmp/db "
pragma journal_mode = delete; create table t(a integer primary key, b integer, c text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 24000)
  insert into t select i, (i * 7919) % 10007, printf('row %d', i * i % 997) from n;
create index tb on t(b); create index tc on t(c);
update t set b = b + 1 where a % 3 = 0; delete from t where a % 7 = 0;
select count(*), sum(b), min(c), max(c) from t; select c, count(*), sum(a) from t group by c order by 2 desc, 1 limit 5;"`,
  },
  {
    name: 'fork-exec',
    about: 'fork+exec',
    package: 'dash',
    script: `dash -c 'i=0; while [ $i -lt 60 ]; do /usr/bin/true; x=$(/usr/bin/basename /a/$i); i=$((i+1)); done; echo $x'`,
  },
  {
    name: 'tar',
    about: 'file I/O',
    package: 'tar',
    needs: 'words',
    script: `rm -rf /tmp/tree; mkdir /tmp/tree; cd /tmp/tree; split -b 6000 -a 3 /tmp/words f
tar --sort=name --mtime=@0 -cf /tmp/tree.tar .; rm -rf /tmp/tree; mkdir /tmp/tree
tar -xf /tmp/tree.tar -C /tmp/tree; cat /tmp/tree/* | cksum; ls /tmp/tree | wc -l; rm -rf /tmp/tree /tmp/tree.tar`,
  },
  {
    name: 'dd',
    about: 'system calls',
    package: 'coreutils',
    script:
      'dd if=/dev/zero of=/dev/null bs=512 count=200000 status=none; dd if=/dev/zero bs=64k count=400 status=none | cksum',
  },
];

/** Our own programs, each of one kind of instruction. */
const ABOUT = {
  integer: 'integer',
  branches: 'branches',
  float: 'floating point (scalar)',
  simd: 'SIMD (SSE2)',
  copy: 'memory copy (REP)',
  chase: 'pointer chase',
  syscalls: 'system calls',
  faults: 'page faults',
  switches: 'context switch',
  fresh: 'freshly written code',
} as const;

export const PROGRAMS = Object.keys(ABOUT) as readonly (keyof typeof ABOUT)[];

export const WORKLOADS: readonly Workload[] = [
  ...PROGRAMS.map((name) => ({ name, about: ABOUT[name], script: `/bench/bin/${name}` })),
  ...debian,
];

/** What means are taken of, besides that of all. */
const SPECIAL = ['float', 'simd', 'copy', 'fresh'];
export const GROUPS: readonly { readonly about: string; readonly names: readonly string[] }[] = [
  { about: 'all', names: WORKLOADS.map(({ name }) => name) },
  { about: 'integer and system', names: WORKLOADS.map(({ name }) => name).filter((name) => !SPECIAL.includes(name)) },
];

export const PACKAGES: readonly string[] = [...new Set(debian.map((w) => w.package!))];
