/** Neighbouring characters inside pieces: where there are none, a text can be cut. */

/** Two neighbouring characters as one number. */
export function joint(left: number, right: number): number {
  return left * 0x110000 + right;
}

/** Every pair of neighbouring characters inside a piece: the places where text cannot be cut. */
export function findJoints(pieces: Iterable<string>): ReadonlySet<number> {
  const joints = new Set<number>();
  for (const piece of pieces) {
    let before = -1;
    for (const character of piece) {
      const point = character.codePointAt(0)!;
      if (before >= 0) joints.add(joint(before, point));
      before = point;
    }
  }
  return joints;
}

/**
 * The parts of a text between its borders: short ones, mostly words, that can be remembered.
 * `isBorder` takes two characters.
 */
export function* cutAtBorders(
  text: string,
  isBorder: (left: number, right: number) => boolean,
): Generator<string> {
  let start = 0;
  let before = 0;
  for (let at = 0; at < text.length; ) {
    const character = text.codePointAt(at)!;
    if (at > start && isBorder(before, character)) {
      yield text.slice(start, at);
      start = at;
    }
    before = character;
    at += character > 0xffff ? 2 : 1;
  }
  if (start < text.length) yield text.slice(start);
}
