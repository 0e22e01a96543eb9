/** Tokens of an answer, unless the user asks for more or fewer: at most a quarter of what the model sees. */
const USUAL = 256;

/**
 * Tokens to be kept free for an answer in what a model sees: all that it may have, where it must end there; no more than
 * usual where the text stops or slides when that is full.
 */
export function answerReserve(
  seen: number,
  maxTokens: number | undefined,
  mustEnd: boolean,
): number {
  const usual = Math.min(USUAL, Math.ceil(seen / 4));
  if (maxTokens === undefined) return usual;
  return mustEnd ? maxTokens : Math.min(maxTokens, usual);
}
