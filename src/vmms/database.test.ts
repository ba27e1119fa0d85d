import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, it } from 'vitest';
import { Database } from './database.ts';

const folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the inventory', () => {
  it('of an earlier schema is brought up to date, and keeps what is in it', () => {
    const path = join(folder, 'old.db');
    new Database(path).close();
    const old = new DatabaseSync(path);
    // As version 2 was.
    old.exec(`alter table checkpoints drop column background;
      alter table checkpoints drop column unfinished;
      drop table whole_states;
      drop table making;
      insert into vms (id, name, revision, configuration, state, created) values ('v', 'one', 1, '{}', 'Off', '');
      insert into checkpoints (id, vm, name, kind, created, configuration, disks, pause)
        values ('c', 'v', 'first', 'Standard', '', '{}', '[]', 5);
      pragma user_version = 2;`);
    old.close();
    const db = new Database(path);
    expect(db.get('select name, pause, background, unfinished from checkpoints')).toEqual({
      name: 'first',
      pause: 5,
      background: null,
      unfinished: 0,
    });
    expect(db.all('select * from whole_states')).toEqual([]);
    db.close();
    new Database(path).close();
  });

  it('of a later schema is refused', () => {
    const path = join(folder, 'new.db');
    new Database(path).close();
    const later = new DatabaseSync(path);
    later.exec('pragma user_version = 1000');
    later.close();
    expect(() => new Database(path)).toThrow('it was written by a newer version of Viridian (schema 1000');
  });
});
