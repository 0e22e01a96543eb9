/** The part of a tokenizer that counting, cutting and joining texts needs. */
export interface TextTokenizer {
  /** A continuation follows another text: nothing is added before it. */
  encode(
    text: string,
    options: { readonly addSpecial: false; readonly continuation?: boolean },
  ): readonly number[];
  /** Returns, token by token, the text that each completes. */
  decoder(options?: { readonly continuation?: boolean }): { push(id: number): string };
}
