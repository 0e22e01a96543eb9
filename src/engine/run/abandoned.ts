// Generators that are dropped between two pieces, neither ended nor returned: what they hold is
// released when they are garbage-collected.

/**
 * What a generator holds, such as a sequence. The generator empties the list when it ends by
 * itself.
 */
export type Held = { release(): void }[];

const abandoned = new FinalizationRegistry<Held>((held) => {
  for (const each of held) each.release();
});

/**
 * Makes a generator with a list for what it holds. Nothing in the list may refer to the generator,
 * else it is never collected.
 */
export function collectable<T extends object>(start: (held: Held) => T): T {
  const held: Held = [];
  const generator = start(held);
  abandoned.register(generator, held);
  return generator;
}
