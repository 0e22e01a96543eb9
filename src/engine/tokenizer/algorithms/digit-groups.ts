/**
 * Cuts numbers into groups of three digits from their ends. The models' own expressions look ahead
 * to the end of the number at every group, in time that grows with the square of its length.
 */
export type Cut = (text: string) => string[];

/**
 * `run` is global, and matches whole numbers; each is cut before every group of three, and if
 * `where` is "around", at both its ends, too. Pieces may be empty.
 */
export function cutGroups(run: RegExp, where: "before" | "around"): Cut {
  return (text) => {
    const pieces: string[] = [];
    let from = 0;
    const cut = (at: number) => {
      pieces.push(text.slice(from, at));
      from = at;
    };
    for (const { 0: digits, index } of text.matchAll(run)) {
      if (where === "around") cut(index);
      const characters = Array.from(digits);
      let at = index;
      for (const [i, character] of characters.entries()) {
        if ((characters.length - i) % 3 === 0) cut(at);
        at += character.length;
      }
      if (where === "around") cut(at);
    }
    cut(text.length);
    return pieces;
  };
}
