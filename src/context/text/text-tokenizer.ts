/** As much of a tokenizer as counting, cutting and joining texts takes. */
export interface TextTokenizer {
  /** A continuation is a text that goes on from another: nothing is put in front of it. */
  encode(
    text: string,
    options: { readonly addSpecial: false; readonly continuation?: boolean },
  ): readonly number[];
  /** Gives, token by token, the text that each completes. */
  decoder(options?: { readonly continuation?: boolean }): { push(id: number): string };
}
