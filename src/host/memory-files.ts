/**
 * Files of disks that are held in memory: for tests, and for throw-away overlays. A file takes memory only for the pages
 * that were written. Names are paths with slashes, all absolute.
 */
import { type DiskFiles, type Extent, FileError, type OpenFileOptions, type RandomFile } from './disk-files.ts';

const PAGE = 4096;

/** Bytes of a file that is there whether it is open or not. */
export class MemoryContent {
  size = 0;
  readonly pages = new Map<number, Uint8Array>();
  /** Bytes that pages may take; writes beyond fail as on a full disk. */
  limit = Number.POSITIVE_INFINITY;

  /** Pages that a clone has too, to be copied before they are written to. */
  #shared = new Set<number>();

  clone(): MemoryContent {
    const copy = new MemoryContent();
    copy.size = this.size;
    copy.limit = this.limit;
    for (const [page, bytes] of this.pages) copy.pages.set(page, bytes);
    this.#shared = new Set(this.pages.keys());
    copy.#shared = new Set(this.#shared);
    return copy;
  }

  /** The page if it is there, ours to write to. */
  #own(index: number): Uint8Array | undefined {
    let page = this.pages.get(index);
    if (page !== undefined && this.#shared.delete(index)) this.pages.set(index, (page = page.slice()));
    return page;
  }

  read(offset: number, into: Uint8Array): number {
    const length = Math.max(0, Math.min(into.length, this.size - offset));
    for (let done = 0; done < length; ) {
      const at = (offset + done) % PAGE;
      const count = Math.min(length - done, PAGE - at);
      const page = this.pages.get((offset + done - at) / PAGE);
      if (page === undefined) into.fill(0, done, done + count);
      else into.set(page.subarray(at, at + count), done);
      done += count;
    }
    return length;
  }

  write(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      const at = (offset + done) % PAGE;
      const count = Math.min(from.length - done, PAGE - at);
      const index = (offset + done - at) / PAGE;
      let page = this.#own(index);
      if (page === undefined) {
        if ((this.pages.size + 1) * PAGE > this.limit)
          throw new FileError('outOfSpace', 'memory: no space left on the device');
        this.pages.set(index, (page = new Uint8Array(PAGE)));
      }
      page.set(from.subarray(done, done + count), at);
      done += count;
      this.size = Math.max(this.size, offset + done);
    }
  }

  zero(offset: number, length: number): void {
    const end = Math.min(offset + length, this.size);
    for (let at = offset; at < end; ) {
      const count = Math.min(end - at, PAGE - (at % PAGE));
      const index = Math.floor(at / PAGE);
      if (count === PAGE) this.#drop(index);
      else this.#own(index)?.fill(0, at % PAGE, (at % PAGE) + count);
      at += count;
    }
  }

  resize(size: number): void {
    if (size < this.size) {
      this.zero(size, Math.min(this.size, Math.ceil(size / PAGE) * PAGE) - size);
      const first = Math.ceil(size / PAGE);
      for (const page of this.pages.keys()) if (page >= first) this.#drop(page);
    }
    this.size = size;
  }

  #drop(index: number): void {
    this.pages.delete(index);
    this.#shared.delete(index);
  }

  nextData(offset: number): Extent | undefined {
    let first = Number.POSITIVE_INFINITY;
    for (const page of this.pages.keys()) if ((page + 1) * PAGE > offset && page < first) first = page;
    if (first * PAGE >= this.size) return undefined;
    let end = first + 1;
    while (this.pages.has(end)) end++;
    const start = Math.max(offset, first * PAGE);
    return { offset: start, length: Math.min(end * PAGE, this.size) - start };
  }
}

export class MemoryFile implements RandomFile {
  readonly path: string;
  readonly writable: boolean;
  readonly content: MemoryContent;
  readonly #release: () => void;

  constructor(path: string, content: MemoryContent, writable = true, release: () => void = () => {}) {
    this.path = path;
    this.content = content;
    this.writable = writable;
    this.#release = release;
  }

  async size(): Promise<number> {
    return this.content.size;
  }
  async read(offset: number, into: Uint8Array): Promise<number> {
    return this.content.read(offset, into);
  }
  async write(offset: number, from: Uint8Array): Promise<void> {
    this.#mayWrite();
    this.content.write(offset, from);
  }
  readNow(offset: number, into: readonly Uint8Array[], length: number): boolean {
    if (offset + length > this.content.size) return false;
    let at = offset;
    for (const buffer of into) at += this.content.read(at, buffer);
    return true;
  }
  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    try {
      this.#mayWrite();
      let at = offset;
      for (const buffer of from) {
        this.content.write(at, buffer);
        at += buffer.length;
      }
      return true;
    } catch (error) {
      if (error instanceof FileError) return false;
      throw error;
    }
  }
  async zero(offset: number, length: number, _space: 'free' | 'keep'): Promise<void> {
    this.#mayWrite();
    this.content.zero(offset, length);
  }
  async sync(): Promise<void> {}
  async resize(size: number): Promise<void> {
    this.#mayWrite();
    this.content.resize(size);
  }
  async allocate(offset: number, length: number): Promise<void> {
    this.#mayWrite();
    if (this.content.size < offset + length) this.content.resize(offset + length);
  }
  async nextData(offset: number): Promise<Extent | undefined> {
    return this.content.nextData(offset);
  }
  async close(): Promise<void> {
    this.#release();
  }

  #mayWrite(): void {
    if (!this.writable) throw new FileError('denied', `${this.path}: opened to read only`);
  }
}

export class MemoryFiles implements DiskFiles {
  readonly contents = new Map<string, MemoryContent>();
  readonly #locks = new Map<MemoryContent, number>();
  #seed = 1;

  async open(path: string, options: OpenFileOptions = {}): Promise<RandomFile> {
    const write = options.write === true || options.create !== undefined;
    path = this.join('/', path);
    let content = this.contents.get(path);
    if (content === undefined && options.create === undefined) throw new FileError('notFound', `${path}: no such file`);
    if (content !== undefined && options.create === 'new')
      throw new FileError('exists', `${path}: the file is there already`);
    if (content === undefined) this.contents.set(path, (content = new MemoryContent()));
    const release = this.#lock(path, content, options.lock ?? (write ? 'exclusive' : 'shared'));
    if (options.create === 'replace') content.resize(0);
    return new MemoryFile(path, content, write, release);
  }

  #lock(path: string, content: MemoryContent, kind: 'exclusive' | 'shared' | 'none'): () => void {
    if (kind === 'none') return () => {};
    const holders = this.#locks.get(content) ?? 0;
    if (kind === 'exclusive' ? holders !== 0 : holders < 0) throw new FileError('busy', `${path}: in use`);
    this.#locks.set(content, kind === 'exclusive' ? -1 : holders + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#locks.set(content, kind === 'exclusive' ? 0 : (this.#locks.get(content) ?? 1) - 1);
    };
  }

  async temporary(): Promise<RandomFile> {
    return new MemoryFile('(memory)', new MemoryContent());
  }
  async exists(path: string): Promise<boolean> {
    return this.contents.has(this.join('/', path));
  }
  async realPath(path: string): Promise<string> {
    const whole = this.join('/', path);
    if (!this.contents.has(whole)) throw new FileError('notFound', `${path}: no such file`);
    return whole;
  }
  folderOf(path: string): string {
    return path.slice(0, path.lastIndexOf('/')) || '/';
  }
  nameOf(path: string): string {
    return path.slice(path.lastIndexOf('/') + 1);
  }
  join(folder: string, path: string): string {
    const parts: string[] = [];
    for (const part of (path.startsWith('/') ? path : `${folder}/${path}`).split('/'))
      if (part === '..') parts.pop();
      else if (part !== '' && part !== '.') parts.push(part);
    return `/${parts.join('/')}`;
  }
  relative(folder: string, path: string): string {
    const from = folder.split('/').filter(Boolean);
    const to = path.split('/').filter(Boolean);
    let same = 0;
    while (same < from.length && from[same] === to[same]) same++;
    return [...from.slice(same).map(() => '..'), ...to.slice(same)].join('/');
  }
  async rename(from: string, to: string): Promise<void> {
    const content = this.contents.get(this.join('/', from));
    if (content === undefined) throw new FileError('notFound', `${from}: no such file`);
    this.contents.delete(this.join('/', from));
    this.contents.set(this.join('/', to), content);
  }
  async remove(path: string): Promise<void> {
    this.contents.delete(this.join('/', path));
  }
  /** The same numbers in each new set of files. */
  readonly random = (count: number): Uint8Array =>
    Uint8Array.from({ length: count }, () => {
      this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) >>> 0;
      return this.#seed >>> 16;
    });
  now(): number {
    return 1_767_225_600_000;
  }
}
