import type { Setting } from "../options.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ModelConfig } from "./config.ts";

/** What decides whether a request can be served: known from the header of a file, before anything is loaded. */
export interface OpenedModel {
  readonly config: ModelConfig;
  readonly setting: Setting;
  readonly tokenizer: Tokenizer;
}
