/** Our own words go to stderr: stdout carries data only. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
