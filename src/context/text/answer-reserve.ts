/**
 * Tokens of an answer if the user does not set them, but at most a quarter of what the model sees.
 */
const USUAL = 256;

/**
 * Tokens to keep free for an answer: the most that it may have if the text must fit the context; at
 * most the usual number if the text stops or slides when the context is full.
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
