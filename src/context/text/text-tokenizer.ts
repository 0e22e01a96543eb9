/** The part of a tokenizer that counting, cutting and joining texts needs. */
export interface TextTokenizer {
  /** A continuation is a text that goes on from another: nothing is put in front of it. */
  encode(
    text: string,
    options: { readonly addSpecial: false; readonly continuation?: boolean },
  ): readonly number[];
  /** Returns, token by token, the text that each completes. */
  decoder(options?: { readonly continuation?: boolean }): { push(id: number): string };
}
