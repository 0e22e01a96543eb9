// Generators that are left between two pieces, neither ended nor returned: what they hold is given back when they are collected.

/** What a generator holds, such as a sequence: it empties the list when it ends by itself. */
export type Held = { release(): void }[];

const abandoned = new FinalizationRegistry<Held>((held) => {
  for (const each of held) each.release();
});

/** A generator with a list for what it holds; nothing in it may lead to the generator itself. */
export function collectable<T extends object>(start: (held: Held) => T): T {
  const held: Held = [];
  const generator = start(held);
  abandoned.register(generator, held);
  return generator;
}
